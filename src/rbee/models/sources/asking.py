"""Small questions to a source: asked again while that may help, answered within bounds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from rbee.edge.web import Reply, Web, source_of
from rbee.errors import RbeeError
from rbee.policy.fetching import Fault, Wait, decide, refusal

Got = TypeVar("Got")

STALL_S = 15.0
"""For an answer to a small question; a source that needs longer is asked again."""
_MOST_BYTES = 8 << 20
_READ_BYTES = 64 << 10
_PASSING = frozenset({"SOURCE_UNREACHABLE", "DOWNLOAD_STALLED"})


def patiently(ask: Callable[[], Got | Fault], *, model: str, url: str) -> Got:
    """What `ask` gives, which may give a fault or raise instead.

    A fault that may pass is met with the pauses of `policy.fetching`; one that stays is raised as
    its code.
    """
    tries = 0
    while True:
        error: RbeeError | None = None
        try:
            got = ask()
        except RbeeError as exc:
            if exc.code not in _PASSING:
                raise
            got, error = Fault(exc.code, exc.report.message, again=True), exc
        if not isinstance(got, Fault):
            return got
        then = decide(got, tries=tries, gained_bytes=0, dice=random.random())
        if not isinstance(then, Wait):
            raise error or RbeeError(
                got.code, model=model, source=source_of(url), problem=got.problem
            )
        tries = then.tries
        time.sleep(then.after_s)


def fetch_small(
    web: Web, url: str, headers: Mapping[str, str] | None = None, *, model: str
) -> tuple[Mapping[str, str], bytes]:
    """Headers (lower-case names) and body of a 200; at most 8 MiB.

    Raises SOURCE_… as the status means, SOURCE_BROKEN for a body that is larger.
    """

    def ask() -> tuple[Mapping[str, str], bytes] | Fault:
        with web.open(url, headers, stall_s=STALL_S) as reply:
            if reply.status != 200:
                return refusal(reply.status, reply.headers)
            body = small_body(reply)
            return body if isinstance(body, Fault) else (reply.headers, body)

    return patiently(ask, model=model, url=url)


def small_body(reply: Reply) -> bytes | Fault:
    """The whole of it, which is at most 8 MiB."""
    data = b""
    for block in blocks(reply):
        data += block
        if len(data) > _MOST_BYTES:
            return Fault("SOURCE_BROKEN", "its answer is far too long", again=False)
    return data


def blocks(reply: Reply) -> Iterator[bytes]:
    """The body, to its end."""
    while block := reply.read(_READ_BYTES):
        yield block
