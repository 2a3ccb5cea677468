"""What real SDKs get when there is no room: full queues, and waits."""

from __future__ import annotations

import pytest

from eventually import eventually
from tests.clients.conftest import STREAMS, begin, serve

WHOLE_CONTEXT = {"max_tokens": 3500, "ignore_eos": True}
"""A stream that holds its slot until it is hung up."""


def hold(home, **fields):
    stream = home.stream(**{**WHOLE_CONTEXT, **fields})
    eventually(lambda: stream.tokens > 2, within_s=30)
    return stream


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_a_full_queue_is_an_error_of_its_class(own_home, client):
    """503 QUEUE_FULL raised as InternalServerError; a patient SDK waits as told and is served."""
    home = own_home("--parallel", "1", RBEE_LIMITS_QUEUE="0", RBEE_DEFAULTS_CTX="4096")
    stream = hold(home)

    running = begin(client, "full", home.url)
    told = running.next()

    assert "InternalServerError" in told["raised"] and told["status_code"] == 503
    assert "QUEUE_FULL" in str(told["body"])
    if client == "openai":
        assert told["code"] == "QUEUE_FULL"
        eventually(lambda: requests(home, "QUEUE_FULL") >= 2, within_s=30)
        stream.hang_up.set()
        (told,) = running.rest()
        assert told["text"] and set(told["sent"][:-1]) == {503} and told["sent"][-1] == 200
    else:
        assert not running.rest()
    stream.hang_up.set()


def requests(home, code):
    """How often rbee answered with a code, by its own metrics."""
    lines = home.ask("GET", "/metrics").text.splitlines()
    return sum(float(one.split()[-1]) for one in lines if f'code="{code}"' in one)


@pytest.fixture(scope="module")
def waiting_home(model):
    """One slot, and comments for whoever waits, at once and often."""
    home = serve(
        model,
        "--parallel",
        "1",
        RBEE_DEFAULTS_CTX="4096",
        RBEE_HOLD_STATUS_S="0.01",
        RBEE_COMMENT_EVERY_S="0.05",
    )
    yield home
    home.end()


@pytest.mark.parametrize("client", STREAMS)
def test_comments_while_waiting_harm_no_client(waiting_home, client):
    """Who waits in the queue gets comments before the first token, and then the whole answer."""
    home = waiting_home
    holder = hold(home)
    waiting = begin(client, "stream", home.url)
    eventually(lambda: home.ps()["queues"]["tiny"]["waiting"] == 1, within_s=30)
    twin = home.stream(max_tokens=2)
    eventually(lambda: any(line.startswith(": rbee") for line in twin.lines), within_s=10)

    holder.hang_up.set()

    told = waiting.rest()[0]
    assert told["text"]
    assert told.get("exit", 0) == 0 and told.get("finish") in {"length", "max_tokens", None}
    assert twin.ended.wait(30) and not twin.broken


@pytest.mark.parametrize("client", ["openai", "openai-2"])
def test_an_answer_that_outlasts_the_sdks_patience_is_run_once(own_home, client):
    """Each time it hangs up and asks again, it attaches to what runs already."""
    home = own_home(RBEE_DEFAULTS_CTX="1024")
    (told,) = begin(client, "impatient", home.url).rest()
    assert told["text"] and told["sent"] == [200], told
    assert requests(home, "ok") == 1 and requests(home, "CANCELLED") == 0
