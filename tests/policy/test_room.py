"""Promises about who is loaded when not all fit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.policy.memory import Need
from rbee.policy.room import (
    PATIENCE_S,
    REST_S,
    STAY_S,
    Budget,
    Load,
    Refuse,
    Tenant,
    Unload,
    Wait,
    decide,
    free_bytes,
)

NEED = Need(100, 50)
TWO = Budget(available_bytes=0, fixed_bytes=320)
"""Room for two models of 150."""


def _idle(name: str, **facts: object) -> Tenant:
    tenant = Tenant(name, name, name, NEED, ready=True, answers=1, up_s=100.0, idle_s=5.0)
    return replace(tenant, **facts)  # type: ignore[arg-type]


def test_what_fits_is_loaded() -> None:
    """Nobody leaves for a model that has room."""
    assert decide("c", NEED, [_idle("a")], TWO, waited_s=0.0) == Load()


def test_the_least_recently_used_goes_first_and_no_more_than_needed() -> None:
    """Of two idle ones the one that rests longer is enough."""
    tenants = [_idle("a", idle_s=1.0), _idle("b", idle_s=9.0)]
    assert decide("c", NEED, tenants, TWO, waited_s=0.0) == Unload(("b",))


def test_one_that_serves_is_waited_for() -> None:
    """A busy model is never cut: the idle one goes, however recently it was used."""
    tenants = [_idle("a", busy=True, idle_s=50.0), _idle("b", idle_s=0.1)]
    assert decide("c", NEED, tenants, TWO, waited_s=0.0) == Unload(("b",))
    tenants = [_idle("a", busy=True), _idle("b", busy=True)]
    assert decide("c", NEED, tenants, TWO, waited_s=0.0) == Wait(("a", "b"))


def test_what_was_swapped_in_stays_until_it_has_served() -> None:
    """A-B-A-B does not throw one another out before anybody was answered."""
    fresh = _idle("a", answers=0, up_s=STAY_S / 2, idle_s=STAY_S / 2)
    one = Budget(0, fixed_bytes=150)
    assert decide("b", NEED, [fresh], one, waited_s=0.0) == Wait(("a",))
    served = replace(fresh, answers=1, idle_s=REST_S / 2)
    assert decide("b", NEED, [served], one, waited_s=0.0) == Wait(("a",))
    rested = replace(served, idle_s=REST_S)
    assert decide("b", NEED, [rested], one, waited_s=0.0) == Unload(("a",))
    old = replace(fresh, up_s=STAY_S)
    assert decide("b", NEED, [old], one, waited_s=0.0) == Unload(("a",))


def test_one_that_never_rests_keeps_others_out_for_a_while_only() -> None:
    """After the patience is over it finishes what it does, and goes."""
    busy = _idle("a", busy=True)
    one = Budget(0, fixed_bytes=150)
    assert decide("b", NEED, [busy], one, waited_s=PATIENCE_S - 1) == Wait(("a",))
    assert decide("b", NEED, [busy], one, waited_s=PATIENCE_S) == Unload(("a",))


def test_what_is_to_stay_is_named_in_the_refusal() -> None:
    """A lasting wish is not unloaded: the numbers are told instead."""
    kept = _idle("a", lasting=True)
    found = decide("b", NEED, [kept], Budget(0, fixed_bytes=200), waited_s=0.0)
    assert found == Refuse(needed_bytes=150, free_bytes=50, holders=("a",))


def test_those_that_leave_already_are_enough() -> None:
    """Nobody else is sent away while somebody is going."""
    tenants = [_idle("a", leaving=True, ready=False), _idle("b")]
    assert decide("c", NEED, tenants, TWO, waited_s=0.0) == Wait(("a",))


def test_two_workers_of_one_file_share_its_weights() -> None:
    """A second replica needs only what is its own."""
    assert decide("a", NEED, [_idle("a")], Budget(0, fixed_bytes=200), waited_s=0.0) == Load()


def test_what_is_available_is_less_what_is_still_to_come() -> None:
    """Mapped weights count as available to the kernel, and a worker that loads has not taken yet
    what it will."""
    loading = _idle("a", ready=False, private_bytes=0)
    assert free_bytes([loading], Budget(available_bytes=1000)) == 850
    loaded = _idle("a", private_bytes=60)
    assert free_bytes([loaded], Budget(available_bytes=940)) == 840
    assert free_bytes([], Budget(available_bytes=940), gone=[loaded]) == 1000
    assert free_bytes([], Budget(available_bytes=940, reserve_bytes=40)) == 900


_TENANTS = st.lists(
    st.builds(
        Tenant,
        id=st.uuids().map(str),
        model=st.sampled_from("abc"),
        file=st.sampled_from("abc"),
        need=st.builds(Need, st.integers(0, 400), st.integers(0, 400)),
        private_bytes=st.integers(0, 400),
        lasting=st.booleans(),
        ready=st.booleans(),
        busy=st.booleans(),
        leaving=st.booleans(),
        idle_s=st.floats(0, 100),
        up_s=st.floats(0, 100),
        answers=st.integers(0, 2),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)


@given(_TENANTS, st.builds(Need, st.integers(0, 400), st.integers(1, 400)), st.integers(1, 2000))
def test_nobody_who_may_stay_is_sent_away(tenants: list[Tenant], needed: Need, fixed: int) -> None:
    """Before the patience is over only idle, settled models on demand go; and each that goes is
    needed."""
    budget = Budget(0, fixed_bytes=fixed)
    found = decide("d", needed, tenants, budget, waited_s=0.0)
    by_id = {one.id: one for one in tenants}
    if isinstance(found, Unload):
        gone = [by_id[one] for one in found.ids]
        assert all(one.ready and not one.busy and not one.lasting for one in gone)
        assert all(one.up_s >= STAY_S or (one.answers and one.idle_s >= REST_S) for one in gone)
        stay = [one for one in tenants if one not in gone[:-1] and not one.leaving]
        assert needed.all_bytes > free_bytes(stay, budget)
    if isinstance(found, Load):
        assert needed.all_bytes <= free_bytes(tenants, budget)


# --- under virtual time --------------------------------------------------------------------------

_STEP_S = 0.1
_LOAD_S = 0.5
_SERVE_S = 0.4


class _Model:
    """A model with one client that asks again `pause_s` after each answer."""

    def __init__(self, name: str, pause_s: float) -> None:
        self.name = name
        self.pause_s = pause_s
        self.asked_at: float | None = 0.0
        self.next_at = 0.0
        self.loaded_at: float | None = None
        self.served_until: float | None = None
        self.idle_since = 0.0
        self.answers = 0
        self.waits: list[float] = []
        self.ends = False

    def tenant(self, now: float) -> Tenant:
        assert self.loaded_at is not None
        return Tenant(
            self.name,
            self.name,
            self.name,
            NEED,
            ready=now >= self.loaded_at,
            busy=self.served_until is not None,
            leaving=self.ends,
            idle_s=now - self.idle_since,
            up_s=now - self.loaded_at,
            answers=self.answers,
        )


def _step(models: list[_Model], line: list[tuple[_Model, float]], now: float) -> int:
    """One moment; how many loads began in it."""
    for model in models:
        if model.served_until is not None and now >= model.served_until:
            model.served_until, model.idle_since = None, now
            model.answers += 1
            model.next_at = now + model.pause_s
        if model.ends and model.served_until is None:
            model.loaded_at, model.ends, model.answers = None, False, 0
        if model.asked_at is None and model.served_until is None and now >= model.next_at:
            model.asked_at = now
        ready = model.loaded_at is not None and now >= model.loaded_at and not model.ends
        if model.asked_at is not None and ready and model.served_until is None:
            model.waits.append(now - model.asked_at)
            model.asked_at, model.served_until = None, now + _SERVE_S
        in_line = any(model is one for one, _ in line)
        if model.asked_at is not None and model.loaded_at is None and not in_line:
            line.append((model, now))
    return _let_in(models, line, now)


def _let_in(models: list[_Model], line: list[tuple[_Model, float]], now: float) -> int:
    if not line:
        return 0
    model, since = line[0]
    tenants = [one.tenant(now) for one in models if one.loaded_at is not None]
    found = decide(model.name, NEED, tenants, TWO, waited_s=now - since)
    if isinstance(found, Unload):
        for one in models:
            one.ends = one.ends or one.name in found.ids
    if not isinstance(found, Load):
        return 0
    line.pop(0)
    model.loaded_at = model.idle_since = now + _LOAD_S
    return 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 2.0, 15.0]), min_size=3, max_size=5))
def test_nobody_starves_and_nothing_thrashes(pauses: list[float]) -> None:
    """Three to five models in a memory for two, for ten minutes: each request begins within two
    minutes, and nobody pays for a load more often than a stay lasts."""
    models = [_Model(name, pause_s) for name, pause_s in zip("abcde", pauses, strict=False)]
    line: list[tuple[_Model, float]] = []
    loads = 0
    for step in range(int(600 / _STEP_S)):
        loads += _step(models, line, step * _STEP_S)
    assert all(model.waits for model in models)
    assert max(wait for model in models for wait in model.waits) < 120
    answers = sum(len(model.waits) for model in models)
    assert loads <= 600 / REST_S and (loads <= answers)
    if max(pauses) < REST_S:
        # Nobody rests: they take turns by the stay.
        assert loads <= 3 + 2 * 600 / STAY_S
