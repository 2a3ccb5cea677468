"""Whether and when a worker that ended unasked is started again.

Pauses are 1, 2, 4 … 60 s and begin anew once a worker was ready and served an answer. Five crashes
in five minutes are a quarantine: a person has to look. A SIGKILL from outside is nobody's crash: it
starts again, at once if the worker had been ready, and does not count. What fails the same way each
time (a damaged file, a bad argument) is not tried again: it is remembered until something changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

CRASHES = 5
WINDOW_S = 300.0

STORM_BURST = 20
"""Unasked starts of all workers together that need not wait for one another."""

LASTING = frozenset(
    {
        "MODEL_CORRUPTED",
        "MODEL_SELFTEST_FAILED",
        "MODEL_UNSUPPORTED",
        "MODEL_NOT_FOUND",
        "MODEL_FILE_MISSING",
        "ENGINE_ARGUMENT",
        "ENGINE_MISSING",
        "DEVICE_UNAVAILABLE",
        "DEVICE_FAULTY",
        "VERSION_MISMATCH",
        "MODEL_TOO_LARGE",
    }
)
"""Codes that come back on every try until somebody changes something."""

_NO_ROOM = frozenset({"WORKER_OUT_OF_MEMORY", "GPU_OUT_OF_MEMORY", "DISK_FULL"})

NOBODYS_CRASH = frozenset({"WORKER_KILLED", "PORT_TAKEN"})
"""Codes that say nothing against the worker."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is held against a worker: when it crashed (monotonic seconds), and its next pause."""

    crashes: tuple[float, ...] = ()
    step: int = 0


@dataclass(frozen=True, slots=True)
class Again:
    """Start again after so many seconds."""

    after_s: float
    record: Record


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Not started again by itself."""

    crashes: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Remember:
    """It would fail again: the cause is kept and told to whoever asks."""


Verdict = Again | Quarantine | Remember


def judge(
    record: Record,
    code: str,
    *,
    was_ready: bool,
    now: float,
    first_s: float,
    cap_s: float,
    moves: bool = False,
) -> Verdict:
    """What to do after an unasked end with this code.

    `was_ready`: the process that ended had served or could have served; an outside kill of such a
    one is answered at once, one in mid-load with the usual pause, so that a killer that comes back
    each time does not keep the machine loading models. A load that finds too little memory
    or disk finds it again: it is remembered. One that `moves` to the next device of its chain does
    so at once; the chain has an end, which is the processor.
    """
    if moves:
        return Again(0.0, record)
    if code in LASTING or (code in _NO_ROOM and not was_ready):
        return Remember()
    if code in NOBODYS_CRASH:
        if was_ready:
            return Again(0.0, record)
        return Again(_pause(record.step, first_s, cap_s), replace(record, step=record.step + 1))
    crashes = (*(at for at in record.crashes if now - at < WINDOW_S), now)
    if len(crashes) >= CRASHES:
        return Quarantine(len(crashes), WINDOW_S)
    pause = _pause(record.step, first_s, cap_s)
    return Again(pause, Record(crashes, record.step + 1))


def spaced(due_at: float, now: float, *, burst: int, every_s: float) -> tuple[float, float]:
    """The pause before the next unasked start of any worker, and the new `due_at`.

    `burst` starts may follow one another at once; beyond them one each `every_s`, over all workers:
    a machine on which everything dies must not spend itself on loading.
    """
    due_at = max(due_at, now)
    return max(0.0, due_at - (burst - 1) * every_s - now), due_at + every_s


def served(record: Record) -> Record:
    """It was ready and served an answer: the next pause is the first one again."""
    return replace(record, step=0)


def _pause(step: int, first_s: float, cap_s: float) -> float:
    return min(cap_s, first_s * 2.0 ** min(step, 32))
