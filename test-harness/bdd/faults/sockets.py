"""Sockets: taken ports, and clients that speak in raw bytes."""

from __future__ import annotations

import ctypes
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from codes_seen import SEEN


@contextmanager
def taken_port() -> Iterator[int]:
    """A loopback port that another program holds; the next one is free. Both lie below those that
    the kernel gives to connections, or one of these could take the second."""
    for first in random.sample(range(20000, 30000), 100):
        with socket.socket() as sock, socket.socket() as following:
            try:
                sock.bind(("127.0.0.1", first))
                following.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            following.close()
            sock.listen()
            yield first
            return
    raise AssertionError("no two free ports in a row")


def raw(port: int, data: bytes, within_s: float = 10, *, ends: bool = True) -> bytes:
    """Send bytes, read until the peer closes or `within_s` passes without a byte. `ends`: the peer
    is told that no more will come."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as sock:
        sock.sendall(data)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while block := sock.recv(65536):
                found += block
        except (TimeoutError, ConnectionResetError):
            pass
        SEEN.take(found.decode("utf-8", "replace"))
        return found


_PIDFD_GETFD = 438


def cut_lines(pid: int, descriptors: list[int]) -> int:
    """Shut connections of another process, as if the other end had gone; listening ones stay.

    Gives how many were cut. Raises OSError where the kernel does not lend descriptors.
    """
    process = os.pidfd_open(pid)
    cut = 0
    try:
        for number in descriptors:
            lent = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, number, 0)
            if lent < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            with socket.socket(fileno=lent) as sock:
                if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    sock.shutdown(socket.SHUT_RDWR)
                    cut += 1
    finally:
        os.close(process)
    return cut
