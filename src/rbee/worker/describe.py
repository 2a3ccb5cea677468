"""What an engine is: its build and the devices that it can use. Loads no model; some 0.1 s."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from rbee.wire.control import Device, EngineView
from rbee.wire.unreadable import UNREADABLE
from rbee.worker.engine_command import rbee_device

ASK_S = 10.0
"""For a program to tell its version or devices; drivers of GPUs take seconds to wake up."""

_VERSION = re.compile(r"^version: (.+)$", re.MULTILINE)
_DEVICE = re.compile(r"^\s+(\w+?\d+): (.+?) \((\d+) MiB, (\d+) MiB free\)$", re.MULTILINE)
_MIB = 1 << 20
_CPU = Device(id="cpu", name="CPU")


def main(engine_path: str) -> int:
    """Print one EngineView as JSON; 1 if that engine cannot be used, with `problem` in it."""
    view = describe_binary(engine_path) if engine_path else describe_built_in()
    sys.stdout.write(msgspec.json.encode(view).decode() + "\n")
    return 1 if view.problem else 0


def built_in_build() -> str:
    """The build of the built-in engine, without loading it; empty: it is not installed."""
    try:
        return f"xllamacpp {metadata.version('xllamacpp')}"
    except metadata.PackageNotFoundError:
        return ""


def describe_built_in() -> EngineView:
    """Asks the engine in this process: its libraries are loaded."""
    build = built_in_build()
    try:
        import xllamacpp
    except ImportError as exc:
        return EngineView(kind="llama-cpp", build=build, problem=f"it cannot be loaded: {exc}")
    found = tuple(_built_in_device(device) for device in xllamacpp.get_device_info())
    return EngineView(kind="llama-cpp", build=build, devices=found)


def _built_in_device(told: dict[str, Any]) -> Device:
    """What it says of main memory is of no use: all of it, always free, whatever the machine runs
    and a control group leaves."""
    name = rbee_device(str(told["name"]))
    known = name != "cpu"
    return Device(
        id=name,
        name=str(told["description"] or told["name"]),
        memory_bytes=int(told["memory_total"]) if known else 0,
        free_bytes=int(told["memory_free"]) if known else 0,
    )


def binary_build(path: str) -> str:
    """The build that a `llama-server` names; empty if it names none."""
    said = ask(path, "--version")
    found = _VERSION.search(said) if isinstance(said, str) else None
    return found.group(1) if found else ""


def ask_about(engine_path: str) -> EngineView:
    """The same as `--describe`, in a process of its own: a driver that crashes is survived."""
    argv = [
        sys.executable,
        "-P",
        "-m",
        "rbee.worker",
        "--describe",
        *([engine_path] if engine_path else []),
    ]
    kind = "llama-server" if engine_path else "llama-cpp"
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=2 * ASK_S, check=False
        )
        return msgspec.json.decode(done.stdout, type=EngineView)
    except (OSError, subprocess.TimeoutExpired, *UNREADABLE) as exc:
        return EngineView(
            kind=kind, build="", path=engine_path, problem=f"it did not answer: {exc}"
        )


def describe_binary(path: str) -> EngineView:
    """Runs the program twice: `--version`, `--list-devices`."""
    version = ask(path, "--version")
    if isinstance(version, OSError):
        return EngineView(kind="llama-server", build="", path=path, problem=_why_not(version))
    found = _VERSION.search(version)
    if found is None:
        said = version.strip().splitlines()[-1:] or ["nothing"]
        problem = f"it is no llama-server: asked for its version it said: {said[0]}"
        return EngineView(kind="llama-server", build="", path=path, problem=problem)
    listed = ask(path, "--list-devices")
    listed = listed if isinstance(listed, str) else ""
    devices = (_CPU, *(_device(match) for match in _DEVICE.finditer(listed)))
    return EngineView(kind="llama-server", build=found.group(1), path=path, devices=devices)


def ask(path: str, flag: str) -> str | OSError:
    """What the program says to one flag, or why it could not be run."""
    try:
        done = subprocess.run(
            [str(Path(path).absolute()), flag],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ASK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TimeoutError(f"it said nothing within {ASK_S:.0f} s")
    except OSError as exc:
        return exc
    return done.stdout.decode("utf-8", "replace")


def _device(match: re.Match[str]) -> Device:
    name, description, total_mib, free_mib = match.groups()
    return Device(
        id=rbee_device(name),
        name=description,
        memory_bytes=int(total_mib) * _MIB,
        free_bytes=int(free_mib) * _MIB,
    )


def _why_not(problem: OSError) -> str:
    match problem:
        case FileNotFoundError() | NotADirectoryError():
            return "there is no such file"
        case PermissionError():
            return "it may not be run (chmod +x)"
        case TimeoutError():
            return str(problem)
    return f"it cannot be run: {problem.strerror or problem}"
