"""Then: what became of processes."""

from __future__ import annotations

from pytest_bdd import parsers, then

from eventually import eventually


@then(parsers.parse("another worker is ready within {limit_s:d} s"))
def another_worker(world, limit_s):
    def other():
        return [one for one in world.home.workers("READY") if one["pid"] != world.seen["pid"]]

    assert eventually(other, within_s=limit_s)


@then(parsers.parse("no worker is left within {limit_s:d} s"))
def unloaded(world, limit_s):
    eventually(lambda: not world.home.workers(), within_s=limit_s)


@then(parsers.parse("the hive is back within {limit_s:g} s with the same workers"))
def hive_back(world, limit_s):
    def back():
        hive = world.home.ps()["hives"][0]
        return hive["pid"] != world.seen["pid"] and hive["state"] == "connected"

    eventually(back, within_s=limit_s)
    assert [one["pid"] for one in world.home.workers()] == world.seen["workers"]


@then(parsers.parse("the event log names {code}"))
def event(world, code):
    eventually(lambda: code in world.home.keeper("events", "--json").out, within_s=5)


@then(parsers.parse("{count:d} workers are ready"))
def count_ready(world, count):
    eventually(lambda: len(world.home.workers("READY")) == count, within_s=30)
