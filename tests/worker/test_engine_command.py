"""Promises of `worker.engine_command`."""

from __future__ import annotations

import itertools

import pytest

from rbee.errors import RbeeError
from rbee.wire.lifeline import WorkerSpec
from rbee.worker.engine_command import (
    RESERVED,
    batch_tokens,
    engine_command,
    engine_device,
    rbee_device,
)


def _spec(**settings: object) -> WorkerSpec:
    return WorkerSpec(
        **{  # type: ignore[arg-type]
            "id": "w",
            "model": "m:1",
            "path": "/p/m.gguf",
            "lifeline": "/l",
            "log": "/log",
            **settings,
        }
    )


@pytest.mark.parametrize("engine", ["llama-cpp", "llama-server"])
def test_the_key_goes_by_the_environment(engine: str) -> None:
    """Never on the command line, and the engine gets it alone."""
    spec = _spec(engine=engine, engine_path="/bin/llama-server")
    command = engine_command(spec, "/spec.json", {"RBEE_WORKER_KEY": "s3cret", "A": "b"}, "none")
    assert "s3cret" not in " ".join(command.argv)
    assert "s3cret" in command.environment.values()
    assert command.environment["A"] == "b"


def test_settings_of_the_users_environment_do_not_reach_the_engine() -> None:
    """A LLAMA_ARG_PORT in somebody's profile would move the port of every worker."""
    environment = {"LLAMA_ARG_PORT": "1", "LLAMA_API_KEY": "theirs", "PATH": "/bin"}
    command = engine_command(_spec(engine="llama-server"), "/s", environment, "none")
    assert "LLAMA_ARG_PORT" not in command.environment
    assert command.environment["LLAMA_API_KEY"] == ""


@pytest.mark.parametrize("flag", sorted(RESERVED))
def test_what_rbee_sets_itself_is_refused(flag: str) -> None:
    """With and without a value behind `=`; the message names the flag."""
    for arg in (flag, f"{flag}=1"):
        with pytest.raises(RbeeError) as caught:
            engine_command(_spec(args=(arg, "1")), "/s", {}, "none")
        assert caught.value.code == "ENGINE_ARGUMENT"
        assert flag in caught.value.report.message


def test_other_flags_stand_last() -> None:
    """llama-server takes the last of two: the person's word wins over our default."""
    command = engine_command(
        _spec(engine="llama-server", args=("--cache-ram", "9")), "/s", {}, "none"
    )
    assert command.argv[-2:] == ("--cache-ram", "9")


def test_the_context_is_that_of_all_slots() -> None:
    """The engine divides its context by its slots; the spec speaks of one."""
    command = engine_command(
        _spec(engine="llama-server", context_tokens=1000, slots=3), "/s", {}, "none"
    )
    assert command.argv[command.argv.index("--ctx-size") + 1] == "3000"


def test_an_embedding_is_one_batch() -> None:
    """Its whole input must fit one batch; a chat's prefill is cut into small ones."""
    assert batch_tokens(_spec(mode="embedding", context_tokens=2048, batch_tokens=64)) == 2048
    assert batch_tokens(_spec(context_tokens=2048, batch_tokens=64)) == 64
    assert batch_tokens(_spec(context_tokens=32, batch_tokens=64)) == 32


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("cuda:0", "CUDA0"), ("rocm:1", "ROCm1"), ("vulkan:2", "Vulkan2"), ("metal:0", "MTL0")],
)
def test_devices_are_named_both_ways(ours: str, theirs: str) -> None:
    """Our name to the engine's and back."""
    assert engine_device(ours) == theirs
    assert rbee_device(theirs) == ours


def _after(flag: str, **settings: object) -> list[str]:
    argv = engine_command(
        _spec(engine="llama-server", engine_path="/bin/x", **settings), "/s", {}, "none"
    ).argv
    return [value for name, value in itertools.pairwise(argv) if name == flag]


def test_an_engine_on_a_gpu_is_told_where_and_says_what_it_uses() -> None:
    """Its usual log is silent about devices: without more of it a model on the processor would
    pass for one on the GPU."""
    assert _after("--device", device="cuda:0,cuda:1") == ["CUDA0,CUDA1"]
    assert _after("--gpu-layers", device="cuda:0", gpu_layers=12) == ["12"]
    assert _after("--gpu-layers", device="cuda:0") == []
    assert _after("--device", device="cpu") == ["none"]
    assert _after("--device", device="auto") == []
    assert [_after("--verbosity", device=one) for one in ("cuda:0", "auto", "cpu")] == [
        ["4"],
        ["4"],
        [],
    ]


def test_a_part_of_memory_that_a_gpu_maps_is_the_gpu() -> None:
    """Metal names its buffers of a mapped file."""
    assert rbee_device("MTL0_Mapped") == "metal:0"


@pytest.mark.parametrize("name", ["CPU", "CPU_Mapped", "CPU_REPACK", "CUDA_Host", "Vulkan_Host"])
def test_buffers_of_the_processor_are_the_processor(name: str) -> None:
    """The engine has several names for main memory."""
    assert rbee_device(name) == "cpu"
