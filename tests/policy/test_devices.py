"""Promises about the chain of devices, and about one that failed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.devices import Phase, Rest, failed, faulty, groups, looked_for, serves

FIRST_S, CAP_S = 60.0, 3600.0


def _failed(before: Rest | None, now: float) -> Rest:
    return failed(before, "it broke", now, first_s=FIRST_S, cap_s=CAP_S)


def test_the_chain_goes_from_cuda_to_the_processor() -> None:
    """Only links that exist; an unknown backend comes before the processor."""
    found = groups({"cpu": 0, "vulkan:0": 5, "sycl:0": 9, "cuda:0": 1, "rocm:0": 3})
    assert found == [
        [("cuda:0",)],
        [("rocm:0",)],
        [("vulkan:0",)],
        [("sycl:0",)],
        [("cpu",)],
    ]
    assert groups({}) == [[("cpu",)]]


def test_of_several_gpus_the_emptiest_comes_first_and_all_together_last() -> None:
    """A model that fits on one is not spread over slow links between cards."""
    (cards, _) = groups({"cuda:0": 2, "cuda:10": 9, "cuda:2": 5})
    assert cards == [("cuda:10",), ("cuda:2",), ("cuda:0",), ("cuda:0", "cuda:2", "cuda:10")]


def test_a_pause_doubles_up_to_its_bound() -> None:
    """A device that fails each time that it is tried is tried ever less."""
    rest, now, pauses = None, 0.0, []
    for _ in range(9):
        rest = _failed(rest, now)
        assert rest.bars and not rest.due(rest.until - 1) and rest.due(rest.until)
        pauses.append(rest.pause_s)
        now = rest.until
        rest = looked_for(rest, now, found=True, cap_s=CAP_S)
        assert not rest.bars
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_what_dies_together_of_one_fault_lengthens_no_pause() -> None:
    """Four workers on a lost GPU are one failure."""
    one = _failed(None, 0.0)
    assert _failed(_failed(one, 0.1), 0.2) == one


def test_a_device_that_is_not_there_is_looked_for_ever_less() -> None:
    """No load is spent on it meanwhile."""
    gone = looked_for(_failed(None, 0.0), 60.0, found=False, cap_s=CAP_S)
    assert gone.bars and (gone.pause_s, gone.until) == (120.0, 180.0)


def test_one_that_serves_is_well_and_its_past_ends() -> None:
    """It fails again soon: twice the pause. It fails after a long time: a first pause."""
    well = serves(looked_for(_failed(None, 0.0), 60.0, found=True, cap_s=CAP_S), 61.0)
    assert well.phase is Phase.WELL and serves(well, 99.0) == well
    assert _failed(well, 62.0).pause_s == 120.0
    assert _failed(well, 61.0 + FIRST_S).pause_s == FIRST_S


@pytest.mark.parametrize(
    ("code", "devices", "against"),
    [
        ("GPU_ERROR", "cuda:0", ("cuda:0",)),
        ("GPU_OUT_OF_MEMORY", "cuda:0,cuda:1", ("cuda:0", "cuda:1")),
        ("DEVICE_UNAVAILABLE", "vulkan:0", ("vulkan:0",)),
        ("GPU_ERROR", "auto", ("cuda:0",)),
        ("GPU_ERROR", "cpu", ()),
        ("WORKER_CRASHED", "cuda:0", ()),
    ],
)
def test_an_end_speaks_against_what_was_used(
    code: str, devices: str, against: tuple[str, ...]
) -> None:
    """The processor is never given up: there is nothing behind it."""
    assert faulty(code, devices, ("cpu", "cuda:0")) == against


@given(st.lists(st.tuples(st.sampled_from("fls"), st.floats(0, 1e4)), max_size=40))
def test_no_history_is_a_trap(history: list[tuple[str, float]]) -> None:
    """Whatever happened, a device that rests is due in time, within the bound."""
    rest, now = _failed(None, 0.0), 0.0
    for act, later_s in history:
        now += later_s
        if act == "f":
            rest = _failed(rest, now)
        elif act == "l" and rest.due(now):
            rest = looked_for(rest, now, found=later_s > 5e3, cap_s=CAP_S)
        elif act == "s" and not rest.bars:
            rest = serves(rest, now)
        assert FIRST_S <= rest.pause_s <= CAP_S
        assert not rest.bars or rest.until <= now + CAP_S
