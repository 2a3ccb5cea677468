"""The exit code of an error."""

import pytest

from rbee.errors import RbeeError, Report
from rbee.keeper.exits import exit_code


@pytest.mark.parametrize(
    ("cause", "code"),
    [("WORKER_KILLED", 137), ("WORKER_OUT_OF_MEMORY", 137), ("WORKER_HUNG", 1), ("NEWER", 1)],
)
def test_of_several_attempts_the_last_cause_decides(cause, code):
    """137 for workers that were killed or ran out of memory, also where three tries failed."""
    error = RbeeError("ATTEMPTS_EXHAUSTED", model="m", tries=3, last="It died.", cause=cause)

    assert exit_code(error.report) == code


def test_an_unknown_exit_is_an_error():
    """A newer rbee may know more of them."""
    assert exit_code(Report("NEW", "Something.", exit=77)) == 1
    assert exit_code(Report("NEW", "Something.", exit=124)) == 124
