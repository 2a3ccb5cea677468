"""Promises about what runs low."""

from __future__ import annotations

from rbee.policy.resources import Level, descriptors, disk, judge, memory


def test_it_is_told_once_and_its_end_is_told_once() -> None:
    """Not again at every look, and not at every flicker."""
    low: frozenset[str] = frozenset()
    said = []
    for left in (30, 19, 18, 21, 24, 25, 26):
        low, news = judge((Level("open files", left, 20),), low)
        said += [(one.left, one.low) for one in news]
    assert said == [(19, True), (25, False)]


def test_each_is_judged_by_itself() -> None:
    """A full disk does not hide that memory runs out."""
    low, news = judge((memory(1, 100), disk(0, 10), descriptors(10, 100)), frozenset())
    assert len(low) == 2
    assert [one.low for one in news] == [True, True]


def test_levels() -> None:
    """A fifth of the open files, a twentieth of the memory, the reserve of the disk."""
    assert descriptors(900, 1024).least == 204
    assert memory(0, 24 << 30).least == int((24 << 30) * 0.05)
    assert disk(5, 7) == Level("disk of the models (bytes)", 5, 7)
