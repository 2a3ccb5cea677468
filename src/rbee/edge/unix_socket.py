"""Unix sockets at paths of any length, for this user only.

A socket address holds 108 bytes (unix(7)), and RBEE_HOME may be longer: on Linux the folder is then
opened and named by its descriptor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADDRESS_BYTES = 100


def listen_unix(path: Path, *, backlog: int = 128) -> socket.socket:
    """A listening, non-blocking socket of mode 0600; a dead one at that path is replaced."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            with _address(path) as address:
                sock.bind(address)
        finally:
            os.umask(mask)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_unix(path: Path, *, timeout_s: float) -> socket.socket:
    """A connected blocking socket. Raises OSError as connect(2) does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        with _address(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


@contextmanager
def _address(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
