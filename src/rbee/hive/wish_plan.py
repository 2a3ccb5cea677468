"""From a wish to what a worker is told: slots, context, threads, device. Pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rbee.errors import RbeeError
from rbee.policy.selftest import Answer
from rbee.settings import AUTO_CTX, AUTO_PARALLEL, Settings
from rbee.wire.control import EngineView, ModelWish
from rbee.wire.lifeline import WorkerSpec

ENGINES_OWN_CHOICE = frozenset({"auto", "cpu"})
"""Devices that every engine has."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a load needs to know of a model file."""

    path: str
    digest: str
    digest_known: bool = False
    """Whether somebody else vouches for the digest."""
    context_train_tokens: int = 0
    """What it was trained for; 0: not known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A wish made concrete for this machine, before it has an id and a log."""

    stored: Stored
    engine: str
    engine_path: str
    device: str
    degraded: str
    """Why it runs on less than was asked for; empty: as asked."""
    context_tokens: int
    slots: int
    threads: int
    goldens: Mapping[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChosenDevice:
    device: str
    degraded: str = ""


def needs_engine_facts(wish: ModelWish, unfit: frozenset[str] = frozenset()) -> bool:
    """Whether the engine's devices must be known before this wish can be started."""
    return wish.device not in ENGINES_OWN_CHOICE or bool(unfit)


def choose_device(
    wish: ModelWish, engine: EngineView, unfit: frozenset[str] = frozenset()
) -> ChosenDevice:
    """The device asked for, or the fallback with its reason. `unfit`: devices that computed rubbish
    with this model; the next one of the engine is taken, at last the CPU.

    Raises DEVICE_UNAVAILABLE.
    """
    if unfit and (wish.device == "auto" or wish.device in unfit):
        fit = (one.id for one in engine.devices if one.usable and one.id not in (*unfit, "cpu"))
        reason = f"{', '.join(sorted(unfit))} failed the self-test"
        return ChosenDevice(next(fit, "cpu"), degraded=reason)
    if wish.device in ENGINES_OWN_CHOICE:
        return ChosenDevice(wish.device)
    usable = [device.id for device in engine.devices if device.usable]
    if wish.device in usable:
        return ChosenDevice(wish.device)
    if not wish.fallback:
        raise RbeeError(
            "DEVICE_UNAVAILABLE", device=wish.device, available=usable or ["cpu"], model=wish.name
        )
    reason = f"{wish.device} was asked for and this engine does not offer it"
    return ChosenDevice("auto", degraded=reason)


def context_tokens(wish: ModelWish, trained_tokens: int) -> int:
    """Tokens per slot: as wished, else what the model was trained for, at most AUTO_CTX."""
    if wish.ctx > 0:
        return wish.ctx
    return min(trained_tokens, AUTO_CTX) if trained_tokens > 0 else AUTO_CTX


def threads(settings_threads: int, cores: int, replicas: int) -> int:
    """Engine threads of one worker.

    Replicas share the cores, and one core is left to everything else: with as many threads as
    cores the engine's spin barriers made a busy 2-core machine ten times slower (docs/measured.md).
    """
    if settings_threads > 0:
        return settings_threads
    return max(1, min(cores - 1, cores // max(1, replicas)))


def plan(
    wish: ModelWish,
    stored: Stored,
    engine: EngineView,
    settings: Settings,
    cores: int,
    *,
    goldens: Mapping[str, Answer] = MappingProxyType({}),
    unfit: frozenset[str] = frozenset(),
) -> Plan:
    """Everything a worker of this wish is told. Raises DEVICE_UNAVAILABLE."""
    chosen = choose_device(wish, engine, unfit)
    return Plan(
        stored=stored,
        engine=engine.kind,
        engine_path=engine.path,
        device=chosen.device,
        degraded=chosen.degraded,
        context_tokens=context_tokens(wish, stored.context_train_tokens),
        slots=wish.parallel or AUTO_PARALLEL,
        threads=threads(settings.threads, cores, wish.replicas),
        goldens=goldens,
    )


def spec(
    wish: ModelWish, chosen: Plan, *, worker_id: str, lifeline: str, log: str, orphan_s: float
) -> WorkerSpec:
    """The worker's orders."""
    return WorkerSpec(
        id=worker_id,
        model=wish.name,
        path=chosen.stored.path,
        lifeline=lifeline,
        log=log,
        digest=chosen.stored.digest,
        digest_known=chosen.stored.digest_known,
        mode=wish.mode,
        engine=chosen.engine,
        engine_path=chosen.engine_path,
        device=chosen.device,
        context_tokens=chosen.context_tokens,
        slots=chosen.slots,
        threads=chosen.threads,
        args=wish.args,
        orphan_s=orphan_s,
        goldens=dict(chosen.goldens),
    )
