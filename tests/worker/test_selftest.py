"""Promises of the self-test of a worker, the same for both engines."""

from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from rbee.policy.selftest import TOKENS, Answer
from rbee.wire import lifeline
from tests.sick_engine import install
from tests.worker_run import KEY, worker_run


@pytest.fixture(params=["llama-cpp", "llama-server"])
def engine(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How a worker of each engine is told of it."""
    if request.param == "llama-cpp":
        return {"engine": "llama-cpp"}
    return {"engine": "llama-server", "engine_path": request.getfixturevalue("llama_server")}


def _tested(folder: Path, model: Path, **how: Any) -> lifeline.SelfTest:
    folder.mkdir()
    with worker_run(folder, model, **how) as run:
        found = run.listening().selftest
    assert found is not None
    return found


@pytest.mark.parametrize("mode", ["chat", "embedding"])
def test_two_processes_give_the_same_answer(
    mode: str, engine: dict[str, Any], model_file: Path, tmp_path: Path
) -> None:
    """Eight sound numbers under one key, whatever the prompt cache and the process."""
    first = _tested(tmp_path / "one", model_file, mode=mode, **engine)
    second = _tested(tmp_path / "two", model_file, mode=mode, **engine)
    assert (first.key, first.answer) == (second.key, second.answer)
    assert len(first.answer.tokens) == TOKENS and not first.answer.flaw
    assert first.took_s > 0 and f"mode={mode}" in first.key and "devices=cpu" in first.key


def test_settings_that_change_a_rounding_change_the_key(model_file: Path, tmp_path: Path) -> None:
    """What another batch or a flag computes is never compared with this."""
    plain = _tested(tmp_path / "plain", model_file)
    for name, how in {"batch": {"batch_tokens": 8}, "flag": {"args": ("--temp", "0")}}.items():
        assert _tested(tmp_path / name, model_file, **how).key != plain.key


def test_an_unexpected_answer_is_asked_for_twice(model_file: Path, tmp_path: Path) -> None:
    """A golden answer of other tokens costs a second run; the same one costs none."""
    plain = _tested(tmp_path / "plain", model_file)
    for name, golden, runs in (("same", plain.answer, 1), ("other", Answer((1, 2)), 2)):
        folder = tmp_path / name
        folder.mkdir()
        with worker_run(folder, model_file, goldens={plain.key: golden}) as run:
            said = run.listening()
            assert said.selftest is not None and said.selftest.answer == plain.answer
            assert run.log_text().count("launch_slot_") == runs


def test_it_leaves_nothing_that_a_prompt_would_meet(
    engine: dict[str, Any], model_file: Path, tmp_path: Path
) -> None:
    """The first chat after it is computed from its first token on."""
    with worker_run(tmp_path, model_file, **engine) as run:
        port = run.listening().port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        head = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(asked), head)
        said = json.loads(connection.getresponse().read())
        connection.close()
        assert said["timings"]["cache_n"] == 0


@pytest.mark.parametrize(
    ("fault", "code"), [("silent", "LOADING_TIMEOUT"), ("leaves", "WORKER_CRASHED")]
)
def test_an_engine_that_fails_in_its_test_is_told(
    fault: str, code: str, model_file: Path, tmp_path: Path
) -> None:
    """Silence has a limit with a code; an engine that dies is a crash, and no wrong answer."""
    path = install(tmp_path, fault=fault)
    with worker_run(
        tmp_path,
        model_file,
        engine="llama-server",
        engine_path=str(path),
        device="cpu",
        selftest_s=0.3,
    ) as run:
        assert run.failed().problem.code == code
        assert run.exit() in (3, -signal.SIGTERM, -signal.SIGKILL)
