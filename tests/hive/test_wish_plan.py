"""Promises about what a worker is told to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.hive.wish_plan import (
    Stored,
    cache_ram_mib,
    choose_device,
    context_tokens,
    plan,
    spec,
    threads,
)
from rbee.settings import AUTO_CTX, AUTO_PARALLEL, Settings
from rbee.wire.control import Device, EngineView, ModelWish

CPU_ENGINE = EngineView(kind="llama-cpp", build="b1", devices=(Device("cpu", "CPU"),))
GPU_ENGINE = EngineView(
    kind="llama-server",
    build="b1",
    path="/x",
    devices=(Device("cpu", "CPU"), Device("cuda:0", "GPU"), Device("cuda:1", "GPU", usable=False)),
)
STORED = Stored("/m.gguf", "sha256:0", context_train_tokens=2048)


def _wish(device: str = "auto", fallback: bool = False, **rest: int) -> ModelWish:
    return ModelWish("m", "m:1", device=device, fallback=fallback, **rest)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_what_every_engine_has_is_taken_as_asked(device: str) -> None:
    """The CPU and the engine's own choice need no look at the engine."""
    assert choose_device(_wish(device), CPU_ENGINE).device == device


def test_a_device_that_is_offered_is_pinned() -> None:
    """--device cuda:0 runs on cuda:0, not degraded."""
    chosen = choose_device(_wish("cuda:0"), GPU_ENGINE)
    assert (chosen.device, chosen.degraded) == ("cuda:0", "")


@pytest.mark.parametrize("device", ["cuda:7", "cuda:1", "vulkan:0"])
def test_a_device_that_is_not_offered_is_refused(device: str) -> None:
    """Without --fallback there is no silent CPU."""
    with pytest.raises(RbeeError) as caught:
        choose_device(_wish(device), GPU_ENGINE)
    assert caught.value.code == "DEVICE_UNAVAILABLE"
    assert caught.value.facts["available"] == ["cpu", "cuda:0"]


def test_a_fallback_is_told() -> None:
    """With --fallback it runs, and says what it lacks."""
    chosen = choose_device(_wish("cuda:0", fallback=True), CPU_ENGINE)
    assert chosen.device == "auto"
    assert "cuda:0" in chosen.degraded


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
    chosen = plan(wished, STORED, CPU_ENGINE, Settings(home="/h"), cores=4)
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
    settings = Settings(home="/h")
    unknown = EngineView(kind="llama-server", build="", path="/x", devices=CPU_ENGINE.devices)
    assert plan(_wish(), STORED, CPU_ENGINE, settings, 2).in_memory
    assert plan(_wish("cpu"), STORED, GPU_ENGINE, settings, 2).in_memory
    assert not plan(_wish(), STORED, GPU_ENGINE, settings, 2).in_memory
    assert not plan(_wish(), STORED, unknown, settings, 2).in_memory


def test_files_beside_the_model_are_counted() -> None:
    """A draft model or a projector is loaded too."""
    settings = Settings(home="/h")
    alone = plan(_wish(), STORED, CPU_ENGINE, settings, 2)
    both = plan(_wish(), STORED, CPU_ENGINE, settings, 2, beside_bytes=1000)
    assert both.need.weights_bytes - alone.need.weights_bytes == 1000
