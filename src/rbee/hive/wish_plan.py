"""From a wish to what a worker is told: slots, context, threads, device. Pure decisions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rbee.hive.device_links import AUTO, ENGINES_OWN_CHOICE, Machine, Place, places, told
from rbee.policy.devices import CPU
from rbee.policy.fitting import (
    ALL_LAYERS,
    LAYER_FLAGS,
    Freedom,
    Setting,
    Sizing,
    differences,
    smaller,
)
from rbee.policy.memory import Need, Shape
from rbee.policy.selftest import Answer
from rbee.settings import AUTO_CTX, AUTO_PARALLEL, Settings
from rbee.wire.control import EngineView, ModelWish
from rbee.wire.lifeline import WorkerSpec

HERE = "memory"
"""This machine's memory, among the places that a worker claims."""

BATCH_TOKENS = 64
"""Prefill batch: at most about 0.5 s of work, so that a hang-up is seen in time."""

CACHE_RAM_MIB = 256
CACHE_SHARE = 32
"""Of the machine's memory for old prompts of one worker, at most `CACHE_RAM_MIB`."""

_CACHE_FLAGS = frozenset({"--cache-ram", "-cram"})
_UNKNOWN = Machine()


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
    better: tuple[str, ...]
    """Devices that it would rather run on, and comes back to."""
    setting: Setting
    sizing: Sizing
    threads: int
    cache_ram_mib: int
    claims: Mapping[str, Need]
    """Memory that it takes, by place: HERE is this machine's, others are devices. What a device has
    is not always known: then nothing is claimed of it."""
    goldens: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def context_tokens(self) -> int:
        return self.setting.context_tokens

    @property
    def slots(self) -> int:
        return self.setting.slots

    def resized(self, setting: Setting) -> Mapping[str, Need]:
        """What it would claim with another setting, in the same places."""
        if self.in_memory:
            return {HERE: self.sizing.on_cpu(setting)}
        return shares(
            self.sizing,
            setting,
            {one: need.own_bytes for one, need in self.claims.items() if one != HERE},
        )

    @property
    def need(self) -> Need:
        """What it was thought to take of this machine's memory if the processor computed."""
        return self.sizing.on_cpu(self.setting)

    @property
    def in_memory(self) -> bool:
        """Whether its weights are in this machine's memory, and not in that of a device."""
        return set(self.claims) == {HERE}

    @property
    def bounded(self) -> bool:
        """Whether its need is known well enough to be stopped by it."""
        known = self.sizing.shape.kv_width > 0 and self.cache_ram_mib >= 0
        return self.in_memory and known


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


def plans(
    wish: ModelWish,
    stored: Stored,
    engine: EngineView,
    settings: Settings,
    cores: int,
    *,
    total_memory_bytes: int = 0,
    beside_bytes: int = 0,
    goldens: Mapping[str, Answer] = MappingProxyType({}),
    machine: Machine = _UNKNOWN,
) -> tuple[Plan, ...]:
    """Everything that a worker of this wish may be told, the best first: the next one is for when
    the one before does not fit. `beside_bytes`: files of its args that are loaded too. Raises
    DEVICE_UNAVAILABLE, DEVICE_FAULTY."""
    cache_mib = cache_ram_mib(wish.args, total_memory_bytes)
    shape = replace(stored.shape, file_bytes=stored.shape.file_bytes + beside_bytes)
    sizing = Sizing(shape, max(0, cache_mib) << 20, 0 if wish.mode == "embedding" else BATCH_TOKENS)
    asked = Setting(
        context_tokens(wish, stored.context_train_tokens), wish.parallel or AUTO_PARALLEL
    )
    return tuple(
        Plan(
            stored=stored,
            engine=engine.kind,
            engine_path=engine.path,
            device=place.device,
            degraded=_degraded(place, asked, setting, shape.layers),
            better=tuple(one for one in place.passed_over if one not in place.link),
            setting=setting,
            sizing=sizing,
            threads=threads(settings.threads, cores, wish.replicas),
            cache_ram_mib=cache_mib,
            claims=_claims(place, sizing, setting, engine, machine),
            goldens=goldens,
        )
        for group in places(wish, engine, machine)
        for place, setting in _tries(wish, group, asked, settings, shape.layers)
    )


def _tries(
    wish: ModelWish, group: list[Place], asked: Setting, settings: Settings, layers: int
) -> Iterator[tuple[Place, Setting]]:
    """First each place as asked, then the largest of them with less and less."""
    yield from ((place, asked) for place in group)
    largest = group[-1]
    on_gpu = largest.device not in ENGINES_OWN_CHOICE
    split_by_hand = bool(LAYER_FLAGS & set(wish.args))
    free = Freedom(
        slots=wish.parallel == 0,
        context=wish.ctx == 0,
        least_context=settings.least_ctx,
        layers=layers if on_gpu and not split_by_hand else 0,
    )
    yield from ((largest, setting) for setting in smaller(asked, free))


def _degraded(place: Place, asked: Setting, setting: Setting, layers: int) -> str:
    less = differences(asked, setting, layers)
    why = [f"{', '.join(less)} (too little memory is free)"] if less else []
    return "; ".join(filter(None, [told(place), *why]))


def _claims(
    place: Place, sizing: Sizing, setting: Setting, engine: EngineView, machine: Machine
) -> dict[str, Need]:
    """What it will take, and of which memory."""
    if _on_cpu(place.device, engine):
        return {HERE: sizing.on_cpu(setting)}
    free = {one: machine.free_bytes.get(one, 0) for one in place.link}
    if not all(free.values()):
        return {}
    return shares(sizing, setting, free)


def shares(sizing: Sizing, setting: Setting, weights: Mapping[str, int]) -> dict[str, Need]:
    """What devices that work together take, in proportion to `weights`, as the engine divides it;
    and this machine, of what is not on them."""
    whole, all_weights = sizing.on_gpu(setting).own_bytes, sum(weights.values())
    claims = {one: Need(0, whole * weight // all_weights) for one, weight in weights.items()}
    if setting.layers != ALL_LAYERS:
        claims[HERE] = sizing.beside_gpu(setting)
    return claims


def _on_cpu(device: str, engine: EngineView) -> bool:
    """Whether the CPU computes: named, or the only device that the engine has. Of a person's own
    engine nothing is known before it was asked."""
    others = any(one.usable and one.id != CPU for one in engine.devices)
    known = bool(engine.build) or not engine.path
    return device == CPU or (device == AUTO and known and not others)


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
        gpu_layers=chosen.setting.layers,
        args=wish.args,
        port=port,
        orphan_s=orphan_s,
        goldens=dict(chosen.goldens),
    )
