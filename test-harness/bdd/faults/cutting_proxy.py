"""A forward proxy that lets so many bytes through and then cuts the line.

It speaks CONNECT, for https, and plain forwarding of a GET, for http. A proxy of the environment
stands behind it, if there is one.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_BLOCK_BYTES = 64 << 10
_PATIENCE_S = 30.0


class CuttingProxy:
    """`cuts_left` lines are cut, each once `after_bytes` came down on it."""

    def __init__(self, cuts: int, after_bytes: int) -> None:
        self.cuts_left = cuts
        self.cuts_made = 0
        self.after_bytes = after_bytes
        self.passed_bytes = 0
        """Down the lines, all together."""
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        beyond = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or ""
        self._beyond = urlsplit(beyond) if beyond else None

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _talk(self, peer: socket.socket) -> None:
        with peer:
            try:
                head = _head(peer)
                if head:
                    with self._dial(head) as line:
                        self._answer(peer, line, head)
                        self._pass_on(peer, line)
            except OSError:
                return

    def _dial(self, head: bytes) -> socket.socket:
        if self._beyond is not None:
            host, port = str(self._beyond.hostname), self._beyond.port or 3128
        else:
            target = urlsplit(
                "//" + _target(head) if head.startswith(b"CONNECT ") else _target(head)
            )
            host, port = str(target.hostname), target.port or 80
        return socket.create_connection((host, port), timeout=_PATIENCE_S)

    def _answer(self, peer: socket.socket, line: socket.socket, head: bytes) -> None:
        if head.startswith(b"CONNECT ") and self._beyond is None:
            peer.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            line.sendall(head)

    def _pass_on(self, peer: socket.socket, line: socket.socket) -> None:
        """Both ways, until one of them ends or it is time to cut."""
        came_bytes = 0
        while True:
            ready, _, _ = select.select([peer, line], [], [], _PATIENCE_S)
            if not ready:
                return
            for one, other in ((peer, line), (line, peer)):
                if one not in ready:
                    continue
                data = one.recv(_BLOCK_BYTES)
                if not data:
                    return
                other.sendall(data)
                if one is line:
                    came_bytes += len(data)
                    if self._cut(len(data), came_bytes):
                        return

    def _cut(self, count: int, came_bytes: int) -> bool:
        with self._lock:
            self.passed_bytes += count
            if came_bytes < self.after_bytes or not self.cuts_left:
                return False
            self.cuts_left -= 1
            self.cuts_made += 1
            return True


@contextmanager
def cutting(cuts: int, after_bytes: int) -> Iterator[CuttingProxy]:
    found = CuttingProxy(cuts, after_bytes)
    thread = threading.Thread(target=found.serve, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.end()
        thread.join(5)


def _head(peer: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\r\n\r\n"):
        data = peer.recv(1)
        if not data or len(said) > _BLOCK_BYTES:
            return b""
        said += data
    return said


def _target(head: bytes) -> str:
    return head.split(b" ", 2)[1].decode("latin-1")
