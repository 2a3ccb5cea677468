"""A stand-in for a llama-server with GPUs: hardware that no machine of ours has.

It lists devices, says which of them hold the weights and fails as the engine's source has it; what
it serves, the real built-in engine computes on the processor. What its GPUs do is told by files in
its folder, one for each device, so that a scenario breaks and mends them while it runs:

    devices     the list that it prints
    CUDA0       what a load on CUDA0 says before it aborts (`nothing`: it puts nothing there)
    CUDA0.lost  what a worker that serves on CUDA0 says before it aborts
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

_LOOK_S = 0.05
_NEVER = threading.Event()
"""Never set: a wait for it is the time between two looks."""


def install(folder: Path, devices: list[str]) -> Path:
    """The program, as a file that can be chosen as an engine. `devices`: as `CUDA0: Name (8192 MiB,
    8000 MiB free)`."""
    folder.mkdir(exist_ok=True)
    listed(folder, devices)
    path = folder / "llama-server"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from gpu_engine import main\nmain({str(folder)!r}, sys.argv[1:])\n"
    )
    path.chmod(0o755)
    return path


def listed(folder: Path, devices: list[str]) -> None:
    """From now on it has these devices."""
    (folder / "devices").write_text("".join(f"  {one}\n" for one in devices))


def main(folder: str, arguments: list[str]) -> None:
    """What llama-server does with these arguments."""
    here = Path(folder)
    known = [line.split(":")[0].strip() for line in (here / "devices").read_text().splitlines()]
    if "--version" in arguments:
        print("version: 0.6.0-dev (build 11434, a stand-in)")
        return
    if "--list-devices" in arguments:
        print("Available devices:\n" + (here / "devices").read_text())
        return
    asked = _value(arguments, "--device") or (known[0] if known else "none")
    for one in asked.split(","):
        if asked != "none" and one not in known:
            print(f'error while handling argument "--device": invalid device: {one}')
            sys.exit(1)
    _say(_load(here, [] if asked == "none" else asked.split(",")))
    _serve(here, asked.split(","), arguments)


def _value(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1] if flag in arguments else ""


def _load(here: Path, devices: list[str]) -> list[str]:
    """What a load on these devices prints; a device that is to fail ends it."""
    lines = []
    for one in devices:
        if (here / one).exists():
            message = (here / one).read_text()
            if message != "nothing":
                _abort(message)
        else:
            lines.append(f"load_tensors:        {one} model buffer size =    92.10 MiB")
    return lines or ["load_tensors:   CPU_Mapped model buffer size =    92.10 MiB"]


def _say(lines: list[str]) -> None:
    for line in lines:
        print(f"0.00.400.000 I {line}", flush=True)


def _abort(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os.abort()


def _serve(here: Path, devices: list[str], arguments: list[str]) -> None:
    import xllamacpp

    params: Any = xllamacpp.CommonParams()
    params.model.path = _value(arguments, "--model")
    params.model_alias = {_value(arguments, "--alias")}
    params.hostnames = ["127.0.0.1"]
    params.port = int(_value(arguments, "--port"))
    params.api_keys = [os.environ["LLAMA_API_KEY"]]
    params.n_ctx = int(_value(arguments, "--ctx-size"))
    params.n_parallel = int(_value(arguments, "--parallel"))
    params.n_batch = params.n_ubatch = int(_value(arguments, "--batch-size"))
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.sse_ping_interval = 1
    params.cache_ram_mib = 0
    params.fit_params = False
    params.endpoint_slots = params.endpoint_metrics = True
    params.ui = False
    params.n_gpu_layers = 0
    server = xllamacpp.Server(params)
    parent = os.getppid()
    while os.getppid() == parent:
        for one in devices:
            if (here / f"{one}.lost").exists():
                _abort((here / f"{one}.lost").read_text())
        _NEVER.wait(_LOOK_S)
    del server
