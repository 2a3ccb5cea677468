"""From a wish to what a worker is told: slots, context, threads, device. Pure decisions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rbee.errors import RbeeError
from rbee.policy.memory import Need, Shape, need
from rbee.policy.selftest import Answer
from rbee.settings import AUTO_CTX, AUTO_PARALLEL, Settings
from rbee.wire.control import EngineView, ModelWish
from rbee.wire.lifeline import WorkerSpec

ENGINES_OWN_CHOICE = frozenset({"auto", "cpu"})
"""Devices that every engine has."""

BATCH_TOKENS = 64
"""Prefill batch: at most about 0.5 s of work, so that a hang-up is seen in time."""

CACHE_RAM_MIB = 256
CACHE_SHARE = 32
"""Of the machine's memory for old prompts of one worker, at most `CACHE_RAM_MIB`."""

_CACHE_FLAGS = frozenset({"--cache-ram", "-cram"})


@dataclass(frozen=True, slots=True)
class Stored:
    """What a load needs to know of a model file."""

    path: str
    digest: str
    digest_known: bool = False
    """Whether somebody else vouches for the digest."""
    context_train_tokens: int = 0
    """What it was trained for; 0: not known."""
    shape: Shape = field(default_factory=lambda: Shape(0))
    """What decides about memory."""


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
    cache_ram_mib: int
    need: Need
    """Memory of this machine that it takes."""
    in_memory: bool
    """Whether its weights are in this machine's memory, and not in that of a device."""
    goldens: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def bounded(self) -> bool:
        """Whether its need is known well enough to be stopped by it."""
        return self.in_memory and self.stored.shape.kv_width > 0 and self.cache_ram_mib >= 0


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


def cache_ram_mib(args: Sequence[str], total_memory_bytes: int) -> int:
    """What the engine may keep of old prompts: as its flag says (-1: no bound), else a small share
    of the memory; its own default of 8 GiB kills small machines."""
    for flag, value in itertools.pairwise(args):
        if flag in _CACHE_FLAGS and value.lstrip("-").isdigit():
            return int(value)
    return min(CACHE_RAM_MIB, total_memory_bytes // CACHE_SHARE >> 20)


def plan(
    wish: ModelWish,
    stored: Stored,
    engine: EngineView,
    settings: Settings,
    cores: int,
    *,
    total_memory_bytes: int = 0,
    beside_bytes: int = 0,
    goldens: Mapping[str, Answer] = MappingProxyType({}),
    unfit: frozenset[str] = frozenset(),
) -> Plan:
    """Everything a worker of this wish is told. `beside_bytes`: files of its args that are loaded
    too. Raises DEVICE_UNAVAILABLE."""
    chosen = choose_device(wish, engine, unfit)
    context, slots = (
        context_tokens(wish, stored.context_train_tokens),
        wish.parallel or AUTO_PARALLEL,
    )
    cache_mib = cache_ram_mib(wish.args, total_memory_bytes)
    needed = need(
        replace(stored.shape, file_bytes=stored.shape.file_bytes + beside_bytes),
        context_tokens=context,
        slots=slots,
        batch_tokens=context if wish.mode == "embedding" else BATCH_TOKENS,
        cache_bytes=max(0, cache_mib) << 20,
    )
    return Plan(
        stored=stored,
        engine=engine.kind,
        engine_path=engine.path,
        device=chosen.device,
        degraded=chosen.degraded,
        context_tokens=context,
        slots=slots,
        threads=threads(settings.threads, cores, wish.replicas),
        cache_ram_mib=cache_mib,
        need=needed,
        in_memory=_on_cpu(chosen.device, engine),
        goldens=goldens,
    )


def _on_cpu(device: str, engine: EngineView) -> bool:
    """Whether the CPU computes: named, or the only device that the engine has. Of a person's own
    engine nothing is known before it was asked."""
    others = any(one.usable and one.id != "cpu" for one in engine.devices)
    known = bool(engine.build) or not engine.path
    return device == "cpu" or (device == "auto" and known and not others)


def spec(
    wish: ModelWish,
    chosen: Plan,
    *,
    worker_id: str,
    lifeline: str,
    log: str,
    orphan_s: float,
    port: int = 0,
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
        batch_tokens=BATCH_TOKENS,
        cache_ram_mib=chosen.cache_ram_mib,
        args=wish.args,
        port=port,
        orphan_s=orphan_s,
        goldens=dict(chosen.goldens),
    )
