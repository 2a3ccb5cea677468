"""Steps about clocks that jump."""

from __future__ import annotations

import pytest
from pytest_bdd import given, parsers, then, when

from faults.clock import Clock, can_be_made


@given("a clock of its own")
def own_clock(world):
    if not can_be_made():
        pytest.skip("program: no C compiler")
    world.seen["clock"] = Clock(world.home.path)
    world.seen["clock"].put_into(world.home.env)


@when(parsers.parse("that clock jumps by {hours:d} h"))
def clock_jumps(world, hours):
    world.seen["pids"] = _pids(world)
    clock = world.seen["clock"]
    clock.jump(hours * 3600)
    assert abs(clock.ahead_s() - hours * 3600) < 60, "the clock stays where it was"


@then("its worker is the one from before the jump")
def same_worker(world):
    assert _pids(world) == world.seen["pids"]


def _pids(world):
    return [one["pid"] for one in world.home.ps()["workers"]]
