"""Sockets: taken ports, and clients that speak in raw bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def taken_port() -> Iterator[int]:
    """A loopback port that another program holds."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def raw(port: int, data: bytes, within_s: float = 10) -> bytes:
    """Send bytes, read until the peer closes or `within_s` passes without a byte."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while block := sock.recv(65536):
                found += block
        except (TimeoutError, ConnectionResetError):
            pass
        return found
