"""What the queen remembers of workers, and the boards that follow from it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.routing import Board, Candidate
from rbee.queen.roster import SERVING, Allowance, Roster
from rbee.wire.control import EngineView, Hello, WorkerView

STATES = ("LOADING", "READY", "BUSY", "DRAINING", "FAILED")
steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "drop", "busy", "allow"]),
        st.sampled_from("abc"),
        st.sampled_from(["m", "n"]),
        st.sampled_from(STATES),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.25, 1.0]),
    ),
    max_size=60,
)


@given(steps)
def test_a_board_always_shows_what_is_known(done):
    """Whatever is told in whatever order, each board holds the serving workers of its lane."""
    roster = Roster()
    for what, id_, model, state, count, share in done:
        if what == "put":
            roster.put(WorkerView(id_, "h", model, "ref", "chat", state, slots=4))
        elif what == "drop":
            roster.drop(id_)
        elif what == "busy":
            roster.set_busy(id_, count)
        else:
            roster.allow(id_, Allowance(share))
    for model in "mn":
        lane = (model, "chat")
        board = roster.board(lane)
        serving = [one for one in roster.workers.values() if one.model == model]
        serving = [one for one in serving if one.state in SERVING]
        assert {one.id for one in roster.serving(lane)} == {one.id for one in serving}
        assert len(board) == len(serving)
        busy = [roster.busy.get(one.id, 0) for one in serving]
        assert [board.get(one.id).busy for one in serving] == busy


def test_who_was_used_last_is_last_of_equals():
    """Equally empty workers take turns."""
    roster = Roster()
    for id_ in "ab":
        roster.put(WorkerView(id_, "h", "m", "ref", "chat", "READY", slots=4))
    board = roster.board(("m", "chat"))
    chosen = []
    for _ in range(4):
        chosen.append(board.choose())
        roster.set_busy(chosen[-1], 1)
        roster.set_busy(chosen[-1], 0)

    assert chosen == ["a", "b", "a", "b"]


def test_a_worker_that_is_gone_leaves_nothing():
    """Its count and its allowance are not there for one that takes its name."""
    roster = Roster()
    view = WorkerView("a", "h", "m", "ref", "chat", "READY", slots=4)
    roster.put(view)
    roster.set_busy("a", 3)
    roster.allow("a", Allowance(0.0))
    roster.drop("a", gone=True)
    roster.put(view)

    assert roster.board(("m", "chat")).choose() == Board([Candidate("a", 4, 0)]).choose() == "a"


def attached(id_: str, state: str, **fields: object) -> WorkerView:
    return WorkerView(id_, "", "m", "", "chat", state, engine="attached", slots=1, **fields)


def test_a_hive_says_nothing_of_attached_servers():
    """At its Hello its own workers are counted anew; those of nobody here stay."""
    roster = Roster()
    roster.put(attached("a1", "READY"))
    roster.put(WorkerView("w1", "h", "m", "m", "chat", "READY", slots=1))
    assert [one.id for one in roster.ours()] == ["w1"]
    engine = EngineView("llama-cpp", "b")
    roster.meet(Hello("1", 1, "h", 1, "box", 1, 1, engine, ()))
    assert list(roster.workers) == ["a1"]


def test_hope_is_in_what_is_looked_after_here():
    """A failed worker of ours is started again; a failed server is in nobody's hand."""
    roster, lane = Roster(), ("m", "chat")
    roster.put(attached("a1", "FAILED", retry_in_s=5.0))
    assert not roster.has_hope(lane)
    roster.put(attached("a1", "READY"))
    assert roster.has_hope(lane) and not roster.has_hope(lane, ours=True)
    roster.put(WorkerView("w1", "h", "m", "m", "chat", "FAILED", retry_in_s=5.0))
    assert roster.has_hope(lane, ours=True)
