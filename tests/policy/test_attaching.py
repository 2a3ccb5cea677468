"""Who may leave a job alone: decided from who left, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.attaching import Alone, EndAfter, GoOn, alone, read_timeout_s, repeats

LIMITS = {"reattach_s": 10.0, "retry_attach_s": 60.0}


@pytest.mark.parametrize(
    ("case", "decision"),
    [
        (Alone(goes_on=True, waits=True), GoOn()),
        (Alone(goes_on=False, waits=True), EndAfter(10.0)),
        (Alone(goes_on=False, waits=False), EndAfter(0.0)),
        (Alone(False, False, client_waited_s=600.1, client_timeout_s=600), EndAfter(60.0)),
        (Alone(False, False, client_waited_s=580, client_timeout_s=600), EndAfter(60.0)),
        (Alone(False, False, client_waited_s=300, client_timeout_s=600), EndAfter(0.0)),
        (Alone(False, False, client_waited_s=300, client_timeout_s=0), EndAfter(0.0)),
    ],
)
def test_what_becomes_of_a_job_alone(case, decision):
    """Asked to go on: it does. A client that only timed out is waited for; another is not."""
    assert alone(case, **LIMITS) == decision


@given(waited_s=st.floats(0, 1e6), timeout_s=st.floats(0, 1e6))
def test_nobody_is_waited_for_who_left_early(waited_s, timeout_s):
    """Work without a client holds a slot only if a next try is likely."""
    found = alone(Alone(False, False, waited_s, timeout_s), **LIMITS)
    assert isinstance(found, EndAfter)
    if waited_s < timeout_s * 0.9:
        assert found.wait_s == 0


@pytest.mark.parametrize(
    ("header", "again"),
    [(None, False), ("0", False), ("00", False), ("1", True), ("2", True), ("x", False)],
)
def test_an_sdk_says_that_it_asks_again(header, again):
    """Only a count of at least one."""
    assert repeats(header) is again


@pytest.mark.parametrize(
    ("header", "limit_s"),
    [(None, 0), ("600", 600), ("0.5", 0.5), ("-1", 0), ("nan", 0), ("inf", 0), ("soon", 0)],
)
def test_the_clients_own_timeout(header, limit_s):
    """Seconds, or nothing that could be relied upon."""
    assert read_timeout_s(header) == limit_s
