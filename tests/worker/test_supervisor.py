"""The contract of a worker, the same for both engines: real processes, real models."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rbee.edge.process_table import has_ended
from rbee.edge.unix_socket import listen_unix
from rbee.version import VERSION
from rbee.wire import lifeline
from tests.damaged_gguf import DAMAGES
from tests.eventually import eventually
from tests.plugin_model import NO_BINARY
from tests.small_disk import small_disk
from tests.worker_run import KEY, HiveEnd, WorkerRun, worker_run

ENGINES = ("llama-cpp", "llama-server")
STOP_S = 1.0
"""The promise to the hive: told to stop, gone within this."""


def _engine(engine: str) -> dict[str, Any]:
    if engine == "llama-cpp":
        return {"engine": engine}
    path = os.environ.get("RBEE_TEST_LLAMA_SERVER", "")
    if not path:
        pytest.skip(NO_BINARY)
    return {"engine": engine, "engine_path": path}


@pytest.fixture(scope="module", params=ENGINES)
def serving(
    request: pytest.FixtureRequest, model_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WorkerRun, lifeline.Listening]]:
    """A worker that serves, one for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("worker")
    with worker_run(folder, model_file, **_engine(request.param)) as run:
        yield run, run.listening()


def _ask(
    port: int, method: str, path: str, body: dict[str, Any] | None = None, key: str = KEY
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        head = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, head)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_it_says_who_it_is_how_it_goes_and_where_it_listens(
    serving: tuple[WorkerRun, lifeline.Listening],
) -> None:
    """Hello first, then progress that never falls, then where it serves and with what."""
    run, listening = serving
    hello, *rest = run.hive.messages
    assert hello == lifeline.WorkerHello("w1", run.process.pid, VERSION)
    fractions = [said.fraction for said in rest if isinstance(said, lifeline.Loading)]
    assert fractions and fractions == sorted(fractions)
    assert (listening.slots, listening.context_tokens) == (1, 512)
    assert listening.devices == ("cpu",)
    assert listening.build
    assert psutil.Process(listening.engine_pid).ppid() == run.process.pid


def test_health_is_200_once_it_says_that_it_listens(
    serving: tuple[WorkerRun, lifeline.Listening],
) -> None:
    """Whoever is told of the port can use it."""
    assert _ask(serving[1].port, "GET", "/health")[0] == 200


def test_a_completion_streams_under_the_alias_and_without_a_path(
    serving: tuple[WorkerRun, lifeline.Listening], model_file: Path
) -> None:
    """Chunks name the public name; neither they nor `/v1/models` show where the file lies."""
    port = serving[1].port
    body = {
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 6,
        "stream": True,
        "temperature": 0,
    }
    status, stream = _ask(port, "POST", "/v1/chat/completions", body)
    assert status == 200
    events = [line[6:] for line in stream.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert {chunk["model"] for chunk in chunks} == {"smollm2:135m"}
    assert any(chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"])
    models = _ask(port, "GET", "/v1/models")[1]
    for text in (stream, models):
        assert model_file.name not in text
        assert str(model_file.parent) not in text


@pytest.mark.parametrize("path", ["/slots", "/v1/chat/completions", "/completion", "/tokenize"])
def test_nothing_is_served_without_the_key(
    serving: tuple[WorkerRun, lifeline.Listening], path: str
) -> None:
    """Other users of the machine reach the port, and get 401."""
    method = "GET" if path == "/slots" else "POST"
    body = None if path == "/slots" else {"prompt": "a", "content": "a"}
    assert _ask(serving[1].port, method, path, body, key="wrong")[0] == 401


def test_the_key_is_on_no_command_line(serving: tuple[WorkerRun, lifeline.Listening]) -> None:
    """`ps` shows command lines to every user of the machine."""
    run, listening = serving
    for pid in (run.process.pid, listening.engine_pid):
        assert KEY not in " ".join(psutil.Process(pid).cmdline())


def test_it_listens_on_loopback_alone(serving: tuple[WorkerRun, lifeline.Listening]) -> None:
    """Nobody on the network reaches a worker."""
    engine = psutil.Process(serving[1].engine_pid)
    listening = [c.laddr.ip for c in engine.net_connections("tcp") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_slots_and_metrics_are_there_for_its_hive(
    serving: tuple[WorkerRun, lifeline.Listening],
) -> None:
    """What queen and hive read of a worker answers 200."""
    for path in ("/slots", "/metrics", "/props"):
        assert _ask(serving[1].port, "GET", path)[0] == 200


@pytest.mark.parametrize("engine", ENGINES)
def test_an_embedding_worker_answers_a_vector(
    engine: str, model_file: Path, tmp_path: Path
) -> None:
    """576 numbers for SmolLM2, also for an input longer than a prefill batch."""
    with worker_run(tmp_path, model_file, mode="embedding", **_engine(engine)) as run:
        port = run.listening().port
        body = {"input": "many words " * 60, "model": "smollm2:135m"}
        status, text = _ask(port, "POST", "/v1/embeddings", body)
        assert status == 200, text
        answer = json.loads(text)
        assert len(answer["data"][0]["embedding"]) == 576
        assert answer["model"] == "smollm2:135m"


@pytest.mark.parametrize("engine", ENGINES)
def test_told_to_stop_it_is_gone_within_a_second_with_a_stream_open(
    engine: str, model_file: Path, tmp_path: Path
) -> None:
    """Exit code 0, engine and port gone, although somebody is still reading a stream."""
    with worker_run(tmp_path, model_file, **_engine(engine)) as run:
        listening = run.listening()
        reader = _open_stream(listening.port)
        try:
            asked_at = time.monotonic()
            run.hive.stop()
            assert run.exit() == 0
            assert time.monotonic() - asked_at < STOP_S
        finally:
            reader.close()
        eventually(lambda: has_ended(listening.engine_pid), STOP_S)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", listening.port), 1).close()


def _open_stream(port: int, tokens: int = 400) -> socket.socket:
    """A stream with its first bytes read."""
    body = json.dumps({"prompt": "Once", "n_predict": tokens, "stream": True, "ignore_eos": True})
    reader = socket.create_connection(("127.0.0.1", port), 5)
    reader.settimeout(30)
    head = (
        f"POST /completion HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader.sendall(head.encode() + body.encode())
    got = b""
    while b"data:" not in got:
        more = reader.recv(4096)
        assert more, got
        got += more
    return reader


@pytest.mark.parametrize("engine", ENGINES)
def test_sigterm_to_its_group_is_a_stop(engine: str, model_file: Path, tmp_path: Path) -> None:
    """The hive's SIGTERM reaches worker and engine at once; that is no crash: exit code 0."""
    with worker_run(tmp_path, model_file, **_engine(engine)) as run:
        run.listening()
        os.killpg(run.process.pid, signal.SIGINT)
        os.killpg(run.process.pid, signal.SIGTERM)
        assert run.exit(STOP_S * 5) == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_engines_death_is_the_workers_death(
    engine: str, number: signal.Signals, model_file: Path, tmp_path: Path
) -> None:
    """The hive sees the very signal that ended the engine, and is told: one that did not start this
    worker sees nothing."""
    codes = {signal.SIGKILL: "WORKER_KILLED", signal.SIGSEGV: "WORKER_CRASHED"}
    with worker_run(tmp_path, model_file, **_engine(engine)) as run:
        os.kill(run.listening().engine_pid, number)
        assert run.exit() == -number
        assert run.hive.wait_for(lifeline.LoadFailed).problem.code == codes[number]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_does_not_outlive_its_worker(
    engine: str, model_file: Path, tmp_path: Path
) -> None:
    """SIGKILL of the supervising process alone leaves nothing behind."""
    with worker_run(tmp_path, model_file, **_engine(engine)) as run:
        listening = run.listening()
        os.kill(run.process.pid, signal.SIGKILL)
        assert run.exit() == -signal.SIGKILL
        eventually(lambda: has_ended(listening.engine_pid))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("half", "MODEL_CORRUPTED"),
        ("magic_flipped", "MODEL_CORRUPTED"),
        ("architecture_unknown", "MODEL_UNSUPPORTED"),
    ],
)
def test_a_failed_load_is_told_with_its_cause(
    engine: str, damage: str, code: str, model_file: Path, tmp_path: Path
) -> None:
    """The same code from both engines, before the worker exits, and no folder in the words."""
    damaged = tmp_path / "m.gguf"
    damaged.write_bytes(DAMAGES[damage](model_file.read_bytes()))
    with worker_run(tmp_path, damaged, **_engine(engine)) as run:
        failed = run.failed()
        assert failed.problem.code == code
        assert str(tmp_path) not in failed.problem.message + str(failed.problem.details)
        assert run.exit() == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_port_in_use_is_told(engine: str, model_file: Path, tmp_path: Path) -> None:
    """A port that was asked for and is taken is PORT_TAKEN, with its number."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with worker_run(tmp_path, model_file, port=port, **_engine(engine)) as run:
            problem = run.failed().problem
            assert (problem.code, problem.details["port"]) == ("PORT_TAKEN", port)


def test_an_engine_that_ends_before_the_hive_is_dialled_is_told(
    model_file: Path, tmp_path: Path
) -> None:
    """A failure of the first milliseconds is not lost: the hive hears of it when it is there."""
    ended = tmp_path / "ended"
    engine = tmp_path / "engine"
    engine.write_text(f"#!/bin/sh\necho 'E broken at once'\ntouch {ended}\nexit 1\n")
    engine.chmod(0o755)
    listens, away = tmp_path / "hive.sock", tmp_path / "away.sock"
    with worker_run(
        tmp_path,
        model_file,
        before=lambda: listens.rename(away),
        engine="llama-server",
        engine_path=str(engine),
    ) as run:
        eventually(ended.exists, within_s=10)
        away.rename(listens)
        assert run.failed().problem.message
        assert run.exit() == 1


def test_a_disk_that_fills_while_it_loads_is_told(model_file: Path, tmp_path: Path) -> None:
    """The engine's word on its port would be lost, and the load would stand still for a minute."""
    engine = tmp_path / "engine"
    ballast = tmp_path / "small" / "ballast"
    engine.write_text(f"#!/bin/sh\ncat /dev/zero > {ballast}\nexec sleep 60\n")
    engine.chmod(0o755)
    with small_disk(tmp_path / "small") as folder:
        with worker_run(folder, model_file, engine="llama-server", engine_path=str(engine)) as run:
            assert run.failed().problem.code == "DISK_FULL"
            assert run.exit() != 0


@pytest.mark.parametrize("engine", ENGINES)
def test_an_orphan_finishes_and_ends(engine: str, model_file: Path, tmp_path: Path) -> None:
    """Its hive gone for `orphan_s`: a running stream gets its end, then the worker exits with 0."""
    with worker_run(tmp_path, model_file, orphan_s=0.3, **_engine(engine)) as run:
        port = run.listening().port
        reader = _open_stream(port, tokens=60)
        run.hive.close()
        try:
            assert b'"stop":true' in _read_to_end(reader)
        finally:
            reader.close()
        assert run.exit() == 0


def _read_to_end(reader: socket.socket) -> bytes:
    got = b""
    while b'"stop":true' not in got and (more := reader.recv(65536)):
        got += more
    return got


def test_a_new_hive_on_the_same_socket_hears_everything_again(
    model_file: Path, tmp_path: Path
) -> None:
    """A worker outlives its hive: it dials again and says hello and where it listens."""
    with worker_run(tmp_path, model_file) as run:
        listening = run.listening()
        run.hive.close()
        run.hive = HiveEnd(Path(run.spec.lifeline))
        assert run.hive.wait_for(lifeline.Listening) == listening
        assert isinstance(run.hive.messages[0], lifeline.WorkerHello)
        run.hive.stop()
        assert run.exit() == 0


def test_the_lifeline_is_served_while_the_engine_loads(model_file: Path, tmp_path: Path) -> None:
    """Stop ends a load at once: the engine's long silence does not make the worker deaf."""
    with worker_run(tmp_path, model_file) as run:
        run.hive.wait_for(lifeline.Loading)
        asked_at = time.monotonic()
        run.hive.stop()
        assert run.exit() == 0
        assert time.monotonic() - asked_at < STOP_S
        assert not any(isinstance(said, lifeline.Listening) for said in run.hive.messages)


def test_a_worker_without_any_hive_ends(model_file: Path, tmp_path: Path) -> None:
    """Nobody ever listened: it ends after `orphan_s`, also while it loads."""
    path = tmp_path / "hive.sock"
    with worker_run(tmp_path, model_file, orphan_s=0.2) as run:
        run.hive.close()
        path.unlink(missing_ok=True)
        assert run.exit() == 0


def test_an_engine_that_is_not_there_is_told(model_file: Path, tmp_path: Path) -> None:
    """ENGINE_MISSING, naming the program, before anything is loaded."""
    missing = str(tmp_path / "llama-server")
    with worker_run(tmp_path, model_file, engine="llama-server", engine_path=missing) as run:
        problem = run.failed().problem
        assert problem.code == "ENGINE_MISSING"
        assert str(tmp_path) not in problem.message
        assert run.exit() == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_device_that_is_not_there_is_told(engine: str, model_file: Path, tmp_path: Path) -> None:
    """Asked for by name, it is never fallen back from in silence: what is there is named."""
    with worker_run(tmp_path, model_file, device="cuda:0", **_engine(engine)) as run:
        problem = run.failed().problem
        assert problem.code == "DEVICE_UNAVAILABLE"
        assert problem.details["available"] == ["cpu"]


def test_a_spec_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Exit code 2, for a file that is no spec and for none."""
    from rbee.worker.supervisor import run

    broken = tmp_path / "spec.json"
    broken.write_text("{")
    previous = signal.getsignal(signal.SIGINT)
    try:
        assert run(broken) == 2
        assert run(tmp_path / "none.json") == 2
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_dead_socket_is_dialled_until_somebody_listens(model_file: Path, tmp_path: Path) -> None:
    """A socket file whose owner died refuses; the worker goes on dialling it."""
    with worker_run(tmp_path, model_file) as run:
        run.listening()
        run.hive.close()
        listen_unix(Path(run.spec.lifeline)).close()
        run.hive = HiveEnd(Path(run.spec.lifeline))
        run.hive.wait_for(lifeline.Listening)
