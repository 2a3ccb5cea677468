"""What the tests of the command line share: a home, the real command, a scripted rbee."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rbee.edge.home import Home
from rbee.edge.unix_socket import listen_unix
from rbee.version import VERSION

Rbee = Callable[..., subprocess.CompletedProcess[str]]

STATUS = {
    "version": VERSION,
    "pid": 1,
    "url": "http://127.0.0.1:1",
    "ready": True,
    "hive": {"pid": 1, "state": "connected"},
    "engine": None,
    "devices": [],
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def rbee(home: Home) -> Rbee:
    """Runs the real command in that home."""

    def run(
        *arguments: str, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rbee.keeper", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(home, env),
            check=False,
        )

    return run


def environment(home: Home, more: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment without any RBEE_* but the home's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RBEE_")}
    return {**kept, "RBEE_HOME": str(home.root), **(more or {})}


JOB = "job_" + "0" * 31 + "1"
FOLLOW = f"/v1/jobs/{JOB}/stream"


@dataclass
class Scripted:
    """Listens where rbee would, and answers each path with the bytes that a test gives."""

    home: Home
    answers: dict[str, bytes] = field(default_factory=dict)
    later: dict[str, list[bytes]] = field(default_factory=dict)
    """What follows the first answer of a path."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    last_ids: list[str] = field(default_factory=list)
    """Of each attachment that named one."""
    keys: list[str] = field(default_factory=list)
    """Idempotency-Keys, one for each job that was asked for."""
    held: set[str] = field(default_factory=set)
    hung_up: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> bytes:
        """The next answer of that path; the last one stays."""
        later = self.later.get(path)
        now = self.answers.get(path, b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
        if later:
            self.answers[path] = later.pop(0)
        return now

    def say(self, path: str, value: Any, status: int = 200) -> None:
        """A JSON answer."""
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
        self.answers[path] = head.encode() + body

    def stream(self, path: str, *pieces: bytes, cut: bool = False) -> None:
        """A chunked answer; `cut` leaves out its end."""
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Request-Id: job_1\r\n\r\n"
        self.answers[path] = head + chunks + (b"" if cut else b"0\r\n\r\n")

    def chunks(self, *values: Any, done: bool = True, cut: bool = False, first: int = 1) -> None:
        """A job, and its events."""
        self.say("/v1/jobs", {"job_id": JOB, "status": "queued"}, 202)
        events = [
            b"id: %d-0\ndata: %b\n\n" % (number, json.dumps(value).encode())
            for number, value in enumerate(values, first)
        ]
        if done:
            events.append(b"data: [DONE]\n\n")
        self.stream(FOLLOW, *events, cut=cut)

    def then_chunks(self, first: int, *values: Any) -> None:
        """What an attachment after the cut gets: the events from that number on, to the end."""
        before = self.answers[FOLLOW]
        self.chunks(*values, first=first)
        self.later.setdefault(FOLLOW, []).append(self.answers[FOLLOW])
        self.answers[FOLLOW] = before

    def request(self) -> Any:
        """What the last job asks."""
        return self.body("/v1/jobs")["request"]

    def hold(self, value: Any) -> None:
        """A job with one event, and then silence until the other side hangs up."""
        self.chunks(value, done=False, cut=True)
        self.held.add(FOLLOW)

    def body(self, path: str) -> Any:
        """What was last asked there."""
        return [body for asked, body in self.asked if asked == path][-1]


@pytest.fixture
def scripted(home: Home) -> Iterator[Scripted]:
    home.prepare()
    found = Scripted(home)
    found.say("/rbee/status", STATUS)
    listener = listen_unix(home.admin_socket)
    listener.settimeout(0.05)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            with peer, peer.makefile("rb") as file:
                peer.settimeout(5)
                method, path, _ = file.readline().decode().split(" ")
                length = 0
                while line := file.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                    if name.lower() == b"last-event-id":
                        found.last_ids.append(value.strip().decode())
                    if name.lower() == b"idempotency-key":
                        found.keys.append(value.strip().decode())
                body = json.loads(file.read(length)) if length else None
                path = path.partition("?")[0]
                path = path if method in ("GET", "POST") else f"{method} {path}"
                found.asked.append((path, body))
                peer.sendall(found.answer(path))
                if path in found.held and peer.recv(1) == b"":
                    found.hung_up.set()

    thread = threading.Thread(target=serve)
    thread.start()
    yield found
    over.set()
    thread.join(10)
    listener.close()
