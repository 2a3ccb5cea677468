"""Promises of `worker.describe` and of `python -m rbee.worker --describe`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rbee.wire.control import EngineView
from rbee.worker.describe import ask_about, describe_binary, describe_built_in


def test_the_built_in_engine_tells_build_and_devices() -> None:
    """The processor at least. Of its memory an engine knows nothing of use."""
    view = describe_built_in()
    assert (view.kind, view.problem) == ("llama-cpp", "")
    assert view.build.startswith("xllamacpp ")
    assert view.devices[0].id == "cpu"
    assert view.devices[0].memory_bytes == 0


def test_a_real_llama_server_tells_build_and_devices(llama_server: str) -> None:
    """Its own words for its build; the processor is always a device."""
    view = describe_binary(llama_server)
    assert (view.kind, view.path, view.problem) == ("llama-server", llama_server, "")
    assert view.build
    assert view.devices[0].id == "cpu"


def _program(folder: Path, text: str, mode: int = 0o700) -> str:
    path = folder / "llama-server"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_gpus_are_read_from_the_list_of_a_binary(tmp_path: Path) -> None:
    """The form of `--list-devices` of a CUDA build, as its help gives it."""
    program = _program(
        tmp_path,
        "#!/bin/sh\n"
        "case $1 in --version) echo 'version: 6000 (abc)' >&2;; *)\n"
        "echo 'Available devices:'\n"
        "echo '  CUDA0: NVIDIA GeForce RTX 3090 (24576 MiB, 24000 MiB free)';; esac\n",
    )
    view = describe_binary(program)
    assert view.build == "6000 (abc)"
    assert [device.id for device in view.devices] == ["cpu", "cuda:0"]
    gpu = view.devices[1]
    assert (gpu.name, gpu.memory_bytes, gpu.free_bytes) == (
        "NVIDIA GeForce RTX 3090",
        24576 << 20,
        24000 << 20,
    )


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("#!/bin/sh\necho hello\n", 0o700, "no llama-server"),
        ("#!/bin/sh\n", 0o700, "no llama-server"),
        ("\x7fELF nonsense", 0o700, "cannot be run"),
        ("#!/bin/sh\n", 0o600, "may not be run"),
    ],
)
def test_what_is_no_engine_is_told(text: str, mode: int, problem: str, tmp_path: Path) -> None:
    """A view with a problem instead of a traceback, also for files that cannot run."""
    assert problem in describe_binary(_program(tmp_path, text, mode)).problem


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """`rbee engine use` shows this sentence."""
    assert describe_binary(str(tmp_path / "none")).problem == "there is no such file"


def test_the_command_prints_one_view_as_json(tmp_path: Path) -> None:
    """Exit code 0 for an engine that can be used, 1 for one that cannot; JSON both times."""
    for args, code in (([], 0), ([str(tmp_path / "none")], 1)):
        done = subprocess.run(
            [sys.executable, "-m", "rbee.worker", "--describe", *args],
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == code
        assert bool(msgspec.json.decode(done.stdout, type=EngineView).problem) == bool(code)


def test_asking_in_another_process_gives_the_same() -> None:
    """What a worker learns about devices is what `engine list` shows."""
    assert ask_about("").devices[0].id == "cpu"
