"""Promises about what a worker is told to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.hive.device_links import Machine
from rbee.hive.wish_plan import (
    HERE,
    Plan,
    Stored,
    cache_ram_mib,
    context_tokens,
    plans,
    spec,
    threads,
)
from rbee.policy.fitting import Setting
from rbee.policy.memory import Shape
from rbee.settings import AUTO_CTX, AUTO_PARALLEL, Settings
from rbee.wire.control import Device, EngineView, ModelWish

CPU_ENGINE = EngineView(kind="llama-cpp", build="b1", devices=(Device("cpu", "CPU"),))
GPU_ENGINE = EngineView(
    kind="llama-server",
    build="b1",
    path="/x",
    devices=(Device("cpu", "CPU"), Device("cuda:0", "GPU"), Device("cuda:1", "GPU", usable=False)),
)
GIB = 1 << 30
SHAPE = Shape(4 * GIB, layers=32, kv_width=2048, vocabulary=128_256)
STORED = Stored("/m.gguf", "sha256:0", context_train_tokens=2048, shape=SHAPE)
NO_FACTS = Machine()


def _wish(device: str = "auto", fallback: bool = False, **rest: Any) -> ModelWish:
    return ModelWish("m", "m:1", device=device, fallback=fallback, **rest)


def _plan(
    wish: ModelWish, engine: EngineView, *, machine: Machine = NO_FACTS, beside_bytes: int = 0
) -> Plan:
    """The best one."""
    settings = Settings(home="/h")
    return plans(wish, STORED, engine, settings, 4, machine=machine, beside_bytes=beside_bytes)[0]


def test_context_is_what_the_model_was_trained_for() -> None:
    """0 means the model's own, bounded; a number means that number."""
    assert context_tokens(_wish(), 2048) == 2048
    assert context_tokens(_wish(), 131072) == AUTO_CTX
    assert context_tokens(_wish(), 0) == AUTO_CTX
    assert context_tokens(_wish(ctx=100), 2048) == 100


@given(st.integers(1, 256), st.integers(1, 64))
def test_threads_never_take_every_core(cores: int, replicas: int) -> None:
    """A worker has a thread, and leaves a core to everything else where there is one."""
    own = threads(0, cores, replicas)
    assert own >= 1
    assert own <= max(1, cores - 1)
    assert own == 1 or own * replicas <= cores


def test_two_cores_run_one_thread() -> None:
    """Two threads on a busy 2-core machine were ten times slower than one (docs/measured.md)."""
    assert threads(0, 2, 1) == 1
    assert threads(3, 2, 1) == 3


def test_orders_carry_the_wish() -> None:
    """The spec of a worker says all of the plan, the alias and the user's own flags."""
    wished = ModelWish("m", "m:1", mode="embedding", args=("--flash-attn", "off"))
    chosen = _plan(wished, CPU_ENGINE)
    orders = spec(wished, chosen, worker_id="w1", lifeline="/l", log="/log", orphan_s=5.0)
    assert (orders.id, orders.model, orders.mode) == ("w1", "m", "embedding")
    assert orders.args == ("--flash-attn", "off")
    assert (orders.slots, orders.threads, orders.context_tokens) == (AUTO_PARALLEL, 3, 2048)
    assert (orders.path, orders.digest) == ("/m.gguf", "sha256:0")


@pytest.mark.parametrize(
    ("args", "total_gib", "mib"),
    [
        ((), 24, 256),
        ((), 4, 128),
        (("--cache-ram", "1024"), 4, 1024),
        (("-cram", "-1"), 24, -1),
        (("--cache-ram",), 24, 256),
    ],
)
def test_old_prompts_are_kept_within_the_memory(
    args: tuple[str, ...], total_gib: int, mib: int
) -> None:
    """A small share of it, unless a person says otherwise."""
    assert cache_ram_mib(args, total_gib << 30) == mib


def test_only_what_the_cpu_computes_needs_this_memory() -> None:
    """Of an engine of a person's own that was not asked yet, nothing is assumed."""
    unknown = EngineView(kind="llama-server", build="", path="/x", devices=CPU_ENGINE.devices)
    assert set(_plan(_wish(), CPU_ENGINE).claims) == {HERE}
    assert set(_plan(_wish("cpu"), GPU_ENGINE).claims) == {HERE}
    assert set(_plan(_wish(), GPU_ENGINE).claims) == set()
    assert set(_plan(_wish(), unknown).claims) == set()


def test_files_beside_the_model_are_counted() -> None:
    """A draft model or a projector is loaded too."""
    alone = _plan(_wish(), CPU_ENGINE)
    both = _plan(_wish(), CPU_ENGINE, beside_bytes=1000)
    assert both.need.weights_bytes - alone.need.weights_bytes == 1000


def _all(wish: ModelWish, engine: EngineView, free: dict[str, int]) -> list[tuple[str, Setting]]:
    made = plans(wish, STORED, engine, Settings(home="/h"), 4, machine=Machine(free))
    return [(one.device, one.setting) for one in made]


def test_plans_go_from_the_best_to_the_least() -> None:
    """As asked on the GPU, less there, a part there; then the same on the processor."""
    made = _all(_wish(), GPU_ENGINE, {"cuda:0": 4 * GIB})
    on_gpu = [setting for device, setting in made if device == "cuda:0"]
    on_cpu = [setting for device, setting in made if device == "cpu"]
    assert [device for device, _ in made] == ["cuda:0"] * len(on_gpu) + ["cpu"] * len(on_cpu)
    assert on_gpu[0] == on_cpu[0] == Setting(2048, AUTO_PARALLEL)
    assert on_gpu[-1].layers > 0 and on_cpu[-1] == Setting(2048, 1)


def test_what_a_person_fixed_is_in_every_plan() -> None:
    """--ctx, --parallel, -ngl and a device without --fallback hold to the end."""
    wish = _wish("cuda:0", ctx=1000, parallel=3, args=("-ngl", "10"))
    assert _all(wish, GPU_ENGINE, {"cuda:0": GIB}) == [("cuda:0", Setting(1000, 3))]


def test_two_cards_that_work_together_share_what_is_claimed() -> None:
    """In proportion to what is free on each, as the engine divides it."""
    devices = (Device("cpu", "CPU"), Device("cuda:0", "G"), Device("cuda:1", "G"))
    engine = EngineView(kind="llama-server", build="b1", path="/x", devices=devices)
    machine = Machine({"cuda:0": 2 * GIB, "cuda:1": 6 * GIB})
    made = plans(_wish(), STORED, engine, Settings(home="/h"), 4, machine=machine)
    assert [one.device for one in made[:3]] == ["cuda:1", "cuda:0", "cuda:0,cuda:1"]
    one, other = (made[2].claims[name].own_bytes for name in ("cuda:0", "cuda:1"))
    assert 2.9 < other / one < 3.1
    assert made[2].degraded == ""
