"""Promises about restarts, quarantine and what is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.restart import (
    CRASHES,
    LASTING,
    NOBODYS_CRASH,
    WINDOW_S,
    Again,
    Quarantine,
    Record,
    Remember,
    Verdict,
    judge,
    served,
    spaced,
)

CRASH = "WORKER_CRASHED"


def _judge(record: Record, code: str = CRASH, *, ready: bool = True, now: float = 0.0) -> Verdict:
    return judge(record, code, was_ready=ready, now=now, first_s=1.0, cap_s=60.0)


def test_pauses_double_up_to_the_cap() -> None:
    """1, 2, 4 … 60 s, when crashes are too rare for a quarantine."""
    record, pauses = Record(), []
    for number in range(8):
        verdict = _judge(record, now=number * WINDOW_S)
        assert isinstance(verdict, Again)
        pauses.append(verdict.after_s)
        record = verdict.record
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_answer_makes_the_pause_short_again() -> None:
    """A worker that served is started again as fast as a new one."""
    verdict = _judge(Record(step=5))
    assert isinstance(verdict, Again)
    again = _judge(served(verdict.record), now=WINDOW_S)
    assert isinstance(again, Again)
    assert again.after_s == 1.0


def test_an_answer_does_not_hide_crashes_from_quarantine() -> None:
    """A worker that serves one answer between crashes is quarantined all the same."""
    record = Record()
    for number in range(CRASHES - 1):
        verdict = _judge(record, now=float(number))
        assert isinstance(verdict, Again)
        record = served(verdict.record)
    assert _judge(record, now=float(CRASHES)) == Quarantine(CRASHES, WINDOW_S)


@pytest.mark.parametrize("code", sorted(LASTING))
def test_what_would_fail_again_is_remembered(code: str) -> None:
    """A damaged file or a bad argument is not loaded a second time."""
    assert _judge(Record(), code) == Remember()


@pytest.mark.parametrize("code", sorted(NOBODYS_CRASH))
def test_an_outside_kill_starts_again_at_once_and_does_not_count(code: str) -> None:
    """A thousand kills of a serving worker from outside are no quarantine."""
    record = Record()
    for number in range(1000):
        verdict = _judge(record, code, now=number / 1000)
        assert verdict == Again(0.0, record)


def test_a_full_disk_is_remembered_until_there_is_room() -> None:
    """Whoever waits for the load is told; it is no crash, and leads to no quarantine."""
    assert _judge(Record(), "DISK_FULL", ready=False) == Remember()


def test_an_outside_kill_in_mid_load_pauses() -> None:
    """Something that kills each load is not answered with a load each instant."""
    verdict = _judge(Record(step=2), "WORKER_KILLED", ready=False)
    assert verdict == Again(4.0, Record(step=3))


@given(st.lists(st.floats(min_value=0.0, max_value=200.0), min_size=1, max_size=60))
def test_no_schedule_of_crashes_escapes_quarantine(gaps: list[float]) -> None:
    """Whatever the gaps: five crashes within five minutes end in quarantine, fewer never do."""
    now, record, times = 0.0, Record(), []
    for gap in gaps:
        now += gap
        times.append(now)
        verdict = _judge(record, now=now)
        recent = [at for at in times if now - at < WINDOW_S]
        if len(recent) >= CRASHES:
            assert isinstance(verdict, Quarantine)
            return
        assert isinstance(verdict, Again)
        assert 1.0 <= verdict.after_s <= 60.0
        record = verdict.record
        assert len(record.crashes) < CRASHES


def test_a_storm_is_spread_over_time() -> None:
    """Twenty starts at once, the rest one every 3 s, whatever worker they are of."""
    due_at, pauses = 0.0, []
    for _ in range(23):
        pause, due_at = spaced(due_at, 100.0, burst=20, every_s=3.0)
        pauses.append(pause)
    assert pauses == [0.0] * 20 + [3.0, 6.0, 9.0]


def test_after_a_quiet_time_starts_are_free_again() -> None:
    """What was spent comes back, one every 3 s."""
    due_at = 0.0
    for _ in range(20):
        _, due_at = spaced(due_at, 100.0, burst=20, every_s=3.0)
    assert spaced(due_at, 103.0, burst=20, every_s=3.0)[0] == 0.0
    assert spaced(due_at, 102.0, burst=20, every_s=3.0)[0] == 1.0
