"""A long line: what goes over it comes later, as over a network between two places."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BLOCK_BYTES = 65536


class _Line:
    """Carries connections to a port of this machine, each block so much later."""

    def __init__(self, port: int, by_s: float) -> None:
        self._port, self._by_s = port, by_s
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._carry, args=(client,)))
                self._threads[-1].start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            other = {client: server, server: client}
            with suppress(OSError):
                while not self._over.is_set():
                    ready, _, _ = select.select([client, server], [], [], 0.1)
                    for one in ready:
                        # What came meanwhile is on its way too, and arrives with it.
                        if self._over.wait(self._by_s):
                            return
                        block = one.recv(_BLOCK_BYTES)
                        if not block:
                            return
                        other[one].sendall(block)


@contextmanager
def long_line(port: int, by_s: float) -> Iterator[int]:
    """The port at this end of it."""
    line = _Line(port, by_s)
    try:
        yield line.port
    finally:
        line.close()
