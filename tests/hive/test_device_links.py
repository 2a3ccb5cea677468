"""Promises about where a wish may run."""

from __future__ import annotations

import pytest

from rbee.errors import RbeeError
from rbee.hive.device_links import Machine, Place, Resting, needs_engine_facts, places, told
from rbee.wire.control import Device, EngineView, ModelWish

CPU_ENGINE = EngineView(kind="llama-cpp", build="b1", devices=(Device("cpu", "CPU"),))
GPU_ENGINE = EngineView(
    kind="llama-server",
    build="b1",
    path="/x",
    devices=(
        Device("cpu", "CPU"),
        Device("vulkan:0", "GPU"),
        Device("cuda:0", "GPU"),
        Device("cuda:1", "GPU", usable=False),
    ),
)
LOST = Machine(resting={"cuda:0": Resting("it was lost", 42.0)})


def _wish(device: str = "auto", fallback: bool = True) -> ModelWish:
    return ModelWish("m", "m:1", device=device, fallback=fallback)


def _chain(wish: ModelWish, engine: EngineView, machine: Machine | None = None) -> list[Place]:
    return [one for group in places(wish, engine, machine or Machine()) for one in group]


def _devices(*found: Place) -> list[str]:
    return [one.device for one in found]


def test_what_every_engine_has_is_taken_as_asked() -> None:
    """The CPU and the engine's own choice, where it has no other, need no look at the engine."""
    for device in ("auto", "cpu"):
        assert _devices(*_chain(_wish(device), CPU_ENGINE)) == [device]
        assert not needs_engine_facts(_wish(device), CPU_ENGINE)
    assert needs_engine_facts(_wish(), GPU_ENGINE)
    assert needs_engine_facts(_wish("cuda:0"), CPU_ENGINE)


def test_without_a_device_the_chain_is_gone_down() -> None:
    """The first one is what was asked for; each later one says what it leaves out."""
    chain = _chain(_wish(), GPU_ENGINE)
    assert _devices(*chain) == ["cuda:0", "vulkan:0", "cpu"]
    assert told(chain[0]) == ""
    assert told(chain[2]).startswith("device=cpu (cuda:0: too little memory")


def test_a_device_that_is_offered_is_pinned() -> None:
    """--device cuda:0 runs on cuda:0 and nowhere else."""
    assert _devices(*_chain(_wish("cuda:0", fallback=False), GPU_ENGINE)) == ["cuda:0"]


@pytest.mark.parametrize("device", ["cuda:7", "cuda:1", "metal:0"])
def test_a_device_that_is_not_offered_is_refused(device: str) -> None:
    """Without --fallback there is no silent CPU."""
    with pytest.raises(RbeeError) as caught:
        places(_wish(device, fallback=False), GPU_ENGINE, Machine())
    assert caught.value.code == "DEVICE_UNAVAILABLE"
    assert caught.value.facts["available"] == ["cpu", "vulkan:0", "cuda:0"]


def test_a_fallback_is_told() -> None:
    """With --fallback it runs on the rest of the chain, and says what it lacks."""
    (only,) = _chain(_wish("cuda:0"), CPU_ENGINE)
    assert only.device == "auto"
    assert told(only) == "device=cpu (cuda:0: this engine does not offer it)"
    named = _chain(_wish("vulkan:0"), GPU_ENGINE)
    assert _devices(*named) == ["vulkan:0", "cuda:0", "cpu"]


def test_a_device_that_rests_is_left_out() -> None:
    """The next link is taken and tells why."""
    chain = _chain(_wish(), GPU_ENGINE, LOST)
    assert _devices(*chain) == ["vulkan:0", "cpu"]
    assert told(chain[0]) == "device=vulkan:0 (cuda:0: it was lost)"


def test_a_pinned_device_that_rests_is_refused_with_the_time() -> None:
    """Nobody waits for it, and nobody is served elsewhere in silence."""
    with pytest.raises(RbeeError) as caught:
        places(_wish("cuda:0", fallback=False), GPU_ENGINE, LOST)
    assert caught.value.code == "DEVICE_FAULTY"
    assert caught.value.facts["retry_after_s"] == 42.0
    assert "it was lost" in str(caught.value)
