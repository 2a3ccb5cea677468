"""A soak that finds something is red: its judges can say no."""

from __future__ import annotations

import httpx
import pytest

from soak import clients
from soak.ledger import End, Gone, Ledger, Result
from told import Told


def told(text="one two", tokens=2, over=True, finish="length", splices=()):
    found = Told(texts={0: text}, over=over, rbee={"splices": list(splices)})
    found.finish = {0: finish} if finish else {}
    found.usages = [{"completion_tokens": tokens, "prompt_tokens": 3}]
    return found


REPLAY = {"mode": "replay", "exact": True}
CONTINUED = {"mode": "continue", "exact": False}


@pytest.mark.parametrize(
    ("answer", "end", "twice"),
    [
        (told(), End.FINISHED, False),
        (told(splices=[REPLAY]), End.EXACT, False),
        (told("another text", splices=[CONTINUED]), End.CONTINUED, False),
        (told("one one two"), End.FINISHED, True),
        (told("one two two", splices=[REPLAY]), End.EXACT, True),
        (told("one two two", tokens=3, splices=[CONTINUED]), End.CONTINUED, True),
        (told(finish=""), End.LOST, False),
        (told(over=False), End.LOST, False),
    ],
)
def test_a_stream_is_judged_by_what_nothing_interrupted(answer, end, twice):
    """An exact answer is the reference to the letter; a continued one has its tokens once."""
    found = clients.judged(answer, told(), 2)
    assert (found.end, bool(found.twice)) == (end, twice)


def test_an_error_without_a_code_is_a_loss():
    """What a client cannot look up is no answer."""
    assert clients.refused(httpx.Response(500, text="oops")).end is End.LOST
    coded = httpx.Response(503, json={"error": {"code": "QUEUE_FULL"}})
    assert clients.refused(coded).code == "QUEUE_FULL"


@pytest.mark.parametrize(
    ("result", "what"),
    [
        (Result(End.LOST, note="no end"), "lost"),
        (Result(End.FINISHED, twice="one one"), "tokens twice"),
        (Result(End.REFUSED, "INTERNAL"), "mistakes"),
    ],
)
def test_each_wrong_turns_the_reckoning_red(result, what):
    """And nothing else does: a refusal with a code is an answer."""
    ledger = Ledger()
    ledger.add("streamed", Result(End.REFUSED, "QUEUE_FULL"))
    assert ledger.clean
    ledger.add("streamed", result)
    assert not ledger.clean and len(ledger.wrong[what]) == 1


def test_a_broken_connection_is_excused_only_while_the_queen_was_gone():
    """A reset at any other time, or while she ends in order, is a loss."""
    ledger = Ledger()
    ledger.gone += [Gone(10.0, 20.0, killed=True), Gone(30.0, 40.0, killed=False)]
    assert ledger.was_gone(15.0, killed=True) and ledger.was_gone(35.0, killed=False)
    assert not ledger.was_gone(25.0, killed=True) and not ledger.was_gone(41.0, killed=False)
