"""Who may leave a job alone, for how long, and who is given the answer of another request.

An SDK that has waited for its read timeout hangs up and asks again at once (openai-python and
openai-node do, twice). It looks like somebody who gave up; only the time tells the two apart. Work
that was broken off and begun again from nothing would never end within that timeout.
"""

from __future__ import annotations

from dataclasses import dataclass

_ALMOST = 0.95
"""Of the client's own timeout: clocks and networks blur it."""


@dataclass(frozen=True, slots=True)
class Alone:
    """A job that nobody is attached to any more."""

    goes_on: bool
    """It was asked to go on (`on_disconnect: continue`, Idempotency-Key)."""
    waits: bool
    """It was asked to end with its client, which may come back (a job that is cancelled)."""
    client_waited_s: float = 0.0
    """How long the client that hung up had waited."""
    client_timeout_s: float = 0.0
    """After how long it gives up by itself and asks again; 0: not known."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """To its end."""


@dataclass(frozen=True, slots=True)
class EndAfter:
    """Cancel it, unless somebody attaches within that time."""

    wait_s: float


def alone(case: Alone, *, reattach_s: float, retry_attach_s: float) -> GoOn | EndAfter:
    """Decide what becomes of a job when the last who was attached is gone."""
    if case.goes_on:
        return GoOn()
    if case.waits:
        return EndAfter(reattach_s)
    timed_out = 0 < case.client_timeout_s * _ALMOST <= case.client_waited_s
    return EndAfter(retry_attach_s if timed_out else 0.0)


def repeats(retry_count: str | None) -> bool:
    """Whether an SDK says that it asks again (`x-stainless-retry-count`)."""
    return retry_count is not None and retry_count.isdecimal() and retry_count.strip("0") != ""


def read_timeout_s(header: str | None) -> float:
    """The client's own limit (`x-stainless-read-timeout`, seconds); 0: it says none."""
    try:
        found = float(header or "")
    except ValueError:
        return 0.0
    return found if 0 < found < 1e7 else 0.0
