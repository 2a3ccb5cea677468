"""A real worker process with a hive's end of its lifeline, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rbee.edge.unix_socket import listen_unix
from rbee.wire import lifeline
from rbee.wire.lifeline import WorkerSpec

KEY = "a-key-of-this-test"
LOAD_S = 30.0
"""A load takes 0.4 s on a quiet machine; tests run on busy ones."""

Message = TypeVar("Message", bound=msgspec.Struct)


class HiveEnd:
    """Listens where workers dial, and keeps what they say."""

    def __init__(self, path: Path) -> None:
        self._socket = listen_unix(path)
        self._socket.setblocking(True)
        self._heard = threading.Condition()
        self.messages: list[lifeline.FromWorker] = []
        self.connections: list[Any] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def wait_for(self, kind: type[Message], *, limit_s: float = LOAD_S, after: int = 0) -> Message:
        """The first message of this kind that came after so many others."""
        return self._wait(
            lambda: next((m for m in self.messages[after:] if isinstance(m, kind)), None),
            limit_s,
            kind.__name__,
        )

    def wait_for_one_of(self, *kinds: type[Any], limit_s: float = LOAD_S) -> Any:
        return self._wait(
            lambda: next((m for m in self.messages if isinstance(m, kinds)), None),
            limit_s,
            str(kinds),
        )

    def stop(self) -> None:
        """Tell the worker to end."""
        self.connections[-1].sendall(lifeline.encode(lifeline.Stop()))

    def close(self) -> None:
        """As if the hive had been killed: nobody listens, connections break."""
        for broken in (self._socket, *self.connections):
            with suppress(OSError):
                broken.shutdown(socket.SHUT_RDWR)
            broken.close()
        self._thread.join(5)

    def _wait(self, look: Callable[[], Message | None], limit_s: float, what: str) -> Message:
        with self._heard:
            found = self._heard.wait_for(look, limit_s)
            if found is None or found is False:
                raise AssertionError(f"no {what} within {limit_s} s; heard: {self.messages}")
            return found

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: Any) -> None:
        try:
            with connection.makefile("rb") as lines:
                for line in lines:
                    with self._heard:
                        self.messages.append(lifeline.decode_from_worker(line))
                        self._heard.notify_all()
        except OSError:
            return


class WorkerRun:
    """One worker process, in a session of its own, with its log and its hive's end."""

    def __init__(
        self, folder: Path, spec: WorkerSpec, before: Callable[[], None] | None = None
    ) -> None:
        self.spec = spec
        self.log = Path(spec.log)
        self.hive = HiveEnd(Path(spec.lifeline))
        spec_path = folder / "spec.json"
        spec_path.write_bytes(lifeline.encode(spec))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rbee.worker", str(spec_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "RBEE_WORKER_KEY": KEY},
                start_new_session=True,
                preexec_fn=before,  # noqa: PLW1509 - a limit of the kernel's, nothing else
            )

    def listening(self) -> lifeline.Listening:
        """Wait until it serves; its log is shown if it never does."""
        said = self.hive.wait_for_one_of(lifeline.Listening, lifeline.LoadFailed)
        assert isinstance(said, lifeline.Listening), f"{said}\n{self.log_text()}"
        return said

    def failed(self) -> lifeline.LoadFailed:
        said = self.hive.wait_for_one_of(lifeline.Listening, lifeline.LoadFailed)
        assert isinstance(said, lifeline.LoadFailed), f"{said}\n{self.log_text()}"
        return said

    def exit(self, limit_s: float = LOAD_S) -> int:
        """Its return code, as subprocess has it."""
        return self.process.wait(limit_s)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


@contextmanager
def worker_run(
    folder: Path, model: Path, *, before: Callable[[], None] | None = None, **settings: Any
) -> Iterator[WorkerRun]:
    """A small worker of this model, killed at the end if it still runs."""
    spec = WorkerSpec(
        id="w1",
        model="smollm2:135m",
        path=str(model),
        lifeline=str(folder / "hive.sock"),
        log=str(folder / "worker.log"),
        **{"context_tokens": 512, "slots": 1, "threads": 1, "orphan_s": 20.0, **settings},
    )
    run = WorkerRun(folder, spec, before)
    try:
        yield run
    finally:
        run.close()
        run.hive.close()
