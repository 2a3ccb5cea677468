"""Whether the other end of a socket is still there, asked of the kernel without reading.

Only Linux tells a peer that sends nothing more (POLLRDHUP) from one that is gone. Elsewhere both
look gone: a half-closed client then gets no answer.
"""

from __future__ import annotations

import select
import socket
import struct
from enum import Enum
from typing import Any

_HALF = getattr(select, "POLLRDHUP", 0)
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Peer(Enum):
    """What the kernel knows of the other end."""

    THERE = "there"
    SILENT = "silent"
    """It sends nothing more; whether it still reads, only an answer to a write tells."""
    GONE = "gone"


def look_at(sock: Any) -> Peer:
    """The peer of a connected stream socket; never blocks, changes nothing."""
    poll = select.poll()
    poll.register(sock.fileno(), _HALF)
    events = sum(event for _, event in poll.poll(0))
    if events & _GONE:
        return Peer.GONE
    return Peer.SILENT if events & _HALF else Peer.THERE


def user_of(sock: Any) -> int:
    """The user at the other end of a Unix socket, as the kernel says (unix(7)); -1 where it does
    not."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or sock is None:
        return -1
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, 12))
    return int(uid)


class Ear:
    """Hears whether something waits to be read on a socket: bytes, an end, or an error."""

    __slots__ = ("_poll",)

    def __init__(self, sock: Any) -> None:
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def hears(self) -> bool:
        """Never blocks. Not to be asked once the socket is closed."""
        return bool(self._poll.poll(0))


def keep_asking(sock: Any, *, idle_s: int = 30, every_s: int = 10) -> None:
    """Let the kernel find out that a peer's machine or network is gone: it asks after `idle_s` of
    silence, three times, so the default is about a minute."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", idle_s), ("TCP_KEEPINTVL", every_s), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
