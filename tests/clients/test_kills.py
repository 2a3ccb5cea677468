"""What real SDKs get when the worker that answers them is killed."""

from __future__ import annotations

import os
import signal

import pytest

from eventually import eventually
from tests.clients.conftest import STREAMS, begin


@pytest.mark.parametrize("client", STREAMS)
def test_a_worker_killed_in_the_middle_is_an_error(own_home, client):
    """Where nothing may be tried again, no client takes the part that it has for the whole."""
    home = own_home(RBEE_RETRIES_PER_MINUTE="0")
    running = begin(client, "long", home.url)
    assert "part" in running.next()
    (worker,) = home.workers("BUSY")

    os.kill(worker["pid"], signal.SIGKILL)

    told = running.rest()
    assert not any(one.get("finish") for one in told)
    if client == "llm":
        assert told[-1]["exit"] == 1 and "killed" in told[-1]["says"]
    else:
        assert "killed" in told[-1]["says"]
        assert told[-1].get("raised"), told[-1]


@pytest.mark.parametrize("client", [one for one in STREAMS if one != "anthropic"])
def test_a_worker_killed_in_the_middle_is_not_noticed(own_home, client):
    """The other worker goes on, and to every SDK it is one answer."""
    home = own_home("--replicas", "2")
    running = begin(client, "long", home.url)
    assert "part" in running.next()
    (worker,) = home.workers("BUSY")

    os.kill(worker["pid"], signal.SIGKILL)

    told = running.rest()
    assert any(one.get("finish") for one in told) or told[-1].get("exit") == 0
    assert not any(one.get("raised") for one in told)
    metrics = home.ask("GET", "/metrics").text
    assert "rbee_splices_total{" in metrics and "rbee_answers_lost_total{" not in metrics


def test_a_worker_killed_in_a_response_is_an_error(own_home):
    """The same on /v1/responses, whose errors have a shape of their own."""
    home = own_home()
    running = begin("openai", "long_responses", home.url)
    eventually(lambda: running.next()["part"], within_s=30)
    (worker,) = home.workers("BUSY")

    os.kill(worker["pid"], signal.SIGKILL)

    told = running.rest()
    assert not any(one.get("finish") for one in told)
    assert told[-1].get("raised") and "killed" in told[-1]["says"]
