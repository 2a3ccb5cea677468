"""When an attempt that says nothing is given up."""

from dataclasses import replace

from rbee.policy.progress import Verdict, Watch, judge
from rbee.settings import Limits, Timing

LIMITS, TIMING = Limits(), Timing()
FRESH = Watch(last_byte_at=100.0, last_progress_at=100.0, tokens=0)


def verdict(watch: Watch, now: float) -> Verdict:
    return judge(watch, now=now, limits=LIMITS, timing=TIMING)


def test_bytes_within_four_seconds_prove_the_process():
    """Pings come every second; four seconds without any byte ask for a probe."""
    assert verdict(FRESH, 103.9) is Verdict.GO_ON
    assert verdict(FRESH, 104.0) is Verdict.PROBE


def test_pings_without_progress_are_a_stall():
    """An engine that pings but makes nothing is given up after 60 s."""
    pinging = replace(FRESH, last_byte_at=159.5)

    assert verdict(pinging, 159.9) is Verdict.GO_ON
    assert verdict(pinging, 160.0) is Verdict.STALLED_BEFORE
    assert verdict(replace(pinging, tokens=3), 160.0) is Verdict.STALLED_WITHIN


def test_a_client_that_does_not_read_costs_nobody_anything():
    """Time in which our client does not read counts against nobody."""
    assert verdict(replace(FRESH, client_waits=False), 1e6) is Verdict.GO_ON


def test_a_deadline_ends_even_what_makes_progress():
    """A deadline, once set, is kept."""
    lively = Watch(200.0, 200.0, 50, deadline_at=200.0)

    assert verdict(lively, 200.0) is Verdict.DEADLINE
    assert verdict(lively, 199.9) is Verdict.GO_ON


def test_a_machine_that_is_slow_over_a_batch_gets_more_time():
    """Four of the longest batches that were measured, if that is more than the limit."""
    slow = Watch(200.0, 100.0, 0, batch_s=20.0)

    assert verdict(replace(slow, last_byte_at=179.9), 179.9) is Verdict.GO_ON
    assert verdict(replace(slow, last_byte_at=180.0), 180.0) is Verdict.STALLED_BEFORE
    assert verdict(replace(slow, batch_s=1.0, last_byte_at=160.0), 160.0) is Verdict.STALLED_BEFORE


def test_who_sends_no_pings_has_its_own_limits():
    """An attached server is silent while it reads: 120 s for the first token, 60 s for the next."""
    reading = Watch(0.0, 0.0, 0, pings=False)
    assert verdict(reading, 119.9) is Verdict.GO_ON
    assert verdict(reading, 120.0) is Verdict.STALLED_BEFORE
    writing = Watch(0.0, 0.0, 3, pings=False)
    assert verdict(writing, 59.9) is Verdict.GO_ON
    assert verdict(writing, 60.0) is Verdict.STALLED_WITHIN
