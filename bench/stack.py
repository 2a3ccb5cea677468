"""An rbee of the benchmark's own, and a raw client for it and for its worker."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RBEE = str(Path(sys.executable).with_name("rbee"))


@dataclass(frozen=True)
class Door:
    """Where a request goes: through rbee, or straight to its worker."""

    port: int
    key: str = "any"


@dataclass(frozen=True)
class Timing:
    """One streamed answer: seconds to its first token and to its end, and its tokens."""

    first_s: float
    all_s: float
    tokens: int


class Stack:
    """One RBEE_HOME with one model served as `tiny`."""

    def __init__(self, model: Path, **variables: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="rbee-bench-"))
        self.file = self.home / "tiny.gguf"
        self.file.symlink_to(model)
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RBEE_")},
            "RBEE_HOME": str(self.home),
            "RBEE_PORT": "0",
            "RBEE_THREADS": "1",
            "RBEE_DEFAULTS_CTX": "1024",
            "RBEE_DEFAULTS_PARALLEL": "4",
            **variables,
        }

    def rbee(self, *words: str) -> str:
        done = subprocess.run(
            [RBEE, *words], env=self.env, check=False, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise SystemExit(f"rbee {' '.join(words)} failed:\n{done.stderr}")
        return done.stdout

    @property
    def queen(self) -> Door:
        said = json.loads((self.home / "run" / "queen.json").read_text())
        return Door(int(said["url"].rsplit(":", 1)[1]))

    @property
    def worker(self) -> Door:
        shown = json.loads(self.rbee("ps", "--json"))["workers"][0]
        key = (self.home / "run" / "workers" / shown["id"] / "key").read_text().strip()
        return Door(shown["port"], key)

    def end(self) -> None:
        subprocess.run([RBEE, "down"], env=self.env, check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def serving(model: Path, *flags: str, **variables: str) -> Iterator[Stack]:
    stack = Stack(model, **variables)
    try:
        stack.rbee("serve", str(stack.file), "--wait", *flags)
        yield stack
    finally:
        stack.end()


def body(tokens: int, prompt: str = "Count to one hundred.") -> bytes:
    """The same request for both doors. The engine does not use what it read before, as rbee decides
    for a short prompt, so that an answer can be replayed exactly."""
    return json.dumps(
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": tokens,
            "temperature": 0,
            "seed": 1,
            "cache_prompt": False,
            "stream": True,
            "return_progress": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


def ask(door: Door, data: bytes) -> Timing:
    """One streamed answer over a connection of its own."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\n"
        f"Authorization: Bearer {door.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", door.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        sock.sendall(head + data)
        first_s, seen = 0.0, b""
        while block := sock.recv(65536):
            seen += block
            if not first_s and b'"content":"' in seen:
                first_s = time.perf_counter() - began
        all_s = time.perf_counter() - began
    if b'"finish_reason":"' not in seen:
        raise SystemExit(f"an answer broke off: {seen[-400:]!r}")
    return Timing(first_s, all_s, seen.count(b'"content":"'))


def ask_many(door: Door, data: bytes, streams: int) -> float:
    """Tokens a second of so many streams at once."""
    found: list[Timing] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(door, data))) for _ in range(streams)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - began
    if len(found) != streams:
        raise SystemExit("a stream failed")
    return sum(one.tokens for one in found) / took_s
