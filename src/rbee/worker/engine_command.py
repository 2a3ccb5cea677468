"""How each engine is started: its command line and its environment, decided from the spec alone.

No secret stands on a command line (any user reads those): the key goes by the environment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from rbee.errors import RbeeError
from rbee.wire.lifeline import WorkerSpec

KEY_VARIABLE = "RBEE_WORKER_KEY"
"""Where the hive puts the worker's API key."""

_ENGINE_KEY_VARIABLE = "LLAMA_API_KEY"

SSE_PING_S = 1
"""With the default of 30, SIGTERM with an open stream takes 30 s (measured); pings prove life."""

HTTP_THREADS_SPARE = 4
"""Beside one per slot: health, /slots and requests that wait hold a thread of the engine each."""

TELLS_DEVICES = "4"
"""The verbosity from which on the engine's log says where weights lie."""

RESERVED: Mapping[str, str] = {
    **dict.fromkeys(("-m", "--model"), "source"),
    **dict.fromkeys(("-c", "--ctx-size"), "ctx"),
    **dict.fromkeys(("-np", "--parallel"), "parallel"),
    **dict.fromkeys(("-dev", "--device"), "device"),
    **dict.fromkeys(("-t", "--threads", "-tb", "--threads-batch"), "[engine] threads"),
    **dict.fromkeys(
        (
            *("--host", "--port", "--reuse-port", "--api-prefix", "--path", "--sse-ping-interval"),
            *("--api-key", "--api-key-file", "--ssl-key-file", "--ssl-cert-file"),
            *("-a", "--alias", "--tags", "--embedding", "--embeddings"),
            *("--slots", "--no-slots", "--metrics", "--sleep-idle-seconds"),
            *("--log-disable", "--log-file", "--log-jsonl", "--no-log-jsonl", "--log-prompts-dir"),
            *("-mu", "--model-url", "-dr", "--docker-repo", "-hf", "-hfr", "--hf-repo"),
            *("-hff", "--hf-file", "--models-dir", "--models-preset", "--models-max"),
            *("--agent", "-ag", "--tools", "--ui-mcp-proxy", "--webui-mcp-proxy"),
            *("--mcp-servers-config", "--mcp-servers-json", "--media-path"),
            *("-h", "--help", "--usage", "--version", "-cl", "--cache-list", "--list-devices"),
            *("--completion-bash",),
        ),
        "",
    ),
}
"""Flags that a person may not pass: rbee depends on them. Value: the key that sets it instead."""


@dataclass(frozen=True, slots=True)
class EngineCommand:
    argv: tuple[str, ...]
    environment: Mapping[str, str]


def engine_command(
    spec: WorkerSpec, spec_path: str, environment: Mapping[str, str], pooling: str
) -> EngineCommand:
    """The engine of this spec. `pooling`: how an embedding worker makes one vector of many.

    An engine that aborts starts a debugger for its backtrace where there is one, and hangs on it
    for more than 5 s (measured): that is switched off.

    Raises ENGINE_ARGUMENT for a flag that rbee sets itself.
    """
    refuse_reserved(spec)
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("LLAMA_ARG_") and name not in (KEY_VARIABLE, _ENGINE_KEY_VARIABLE)
    }
    kept["GGML_NO_BACKTRACE"] = "1"
    key = environment.get(KEY_VARIABLE, "")
    if spec.engine == "llama-server":
        return EngineCommand(_llama_server(spec, pooling), {**kept, _ENGINE_KEY_VARIABLE: key})
    hosted = (sys.executable, "-P", "-m", "rbee.worker", "--host-engine", spec_path, pooling)
    return EngineCommand(hosted, {**kept, KEY_VARIABLE: key})


def refuse_reserved(spec: WorkerSpec) -> None:
    """Raises ENGINE_ARGUMENT naming the first flag that rbee sets itself, and where."""
    for arg in spec.args:
        flag = arg.partition("=")[0]
        key = RESERVED.get(flag)
        if key is not None:
            instead = f" (use {key} in rbee.toml)" if key else ""
            line = f"{flag} is set by rbee itself{instead}"
            raise RbeeError("ENGINE_ARGUMENT", model=spec.model, worker=spec.id, line=line)


def batch_tokens(spec: WorkerSpec) -> int:
    """Tokens per prefill batch: as asked, but an embedding needs its whole input in one batch."""
    if spec.mode == "embedding":
        return max(spec.batch_tokens, spec.context_tokens)
    return min(spec.batch_tokens, spec.context_tokens)


def _llama_server(spec: WorkerSpec, pooling: str) -> tuple[str, ...]:
    batch = str(batch_tokens(spec))
    embedding = ("--embedding", "--pooling", pooling) if spec.mode == "embedding" else ()
    return (
        *(spec.engine_path, "--model", spec.path, "--alias", spec.model),
        *("--host", "127.0.0.1", "--port", str(spec.port), "--offline"),
        *("--ctx-size", str(spec.context_tokens * spec.slots), "--parallel", str(spec.slots)),
        *("--no-kv-unified", "--fit", "off"),
        *("--batch-size", batch, "--ubatch-size", batch),
        *("--threads", str(spec.threads), "--threads-batch", str(spec.threads)),
        *("--threads-http", str(spec.slots + HTTP_THREADS_SPARE)),
        *("--sse-ping-interval", str(SSE_PING_S), "--cache-ram", str(spec.cache_ram_mib)),
        *("--check-tensors", "--metrics", "--slots", "--no-ui"),
        *embedding,
        *_devices(spec),
        *spec.args,
    )


def _devices(spec: WorkerSpec) -> tuple[str, ...]:
    """`cuda:0` is `CUDA0` in the engine's words; `auto` leaves the choice to it. On anything but
    the processor it shall say what it uses."""
    if spec.device == "cpu":
        return ("--device", "none")
    tells = ("--verbosity", TELLS_DEVICES)
    if spec.device == "auto":
        return tells
    names = ",".join(map(engine_device, spec.device.split(",")))
    layers = ("--gpu-layers", str(spec.gpu_layers)) if spec.gpu_layers >= 0 else ()
    return ("--device", names, *layers, *tells)


_GPU = re.compile(r"([A-Za-z]+)(\d+)(?:_|$)")
"""A device, maybe with a kind of buffer behind it (`MTL0_Mapped`); `CUDA_Host` is main memory."""


def engine_device(device: str) -> str:
    """Our name of a device in the engine's words: `vulkan:1` → `Vulkan1`."""
    backend, _, index = device.partition(":")
    words = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "metal": "MTL"}
    return f"{words.get(backend, backend)}{index or '0'}"


def rbee_device(engine_name: str) -> str:
    """The engine's name of a device in our words: `CUDA0` → `cuda:0`, `CPU_Mapped` → `cpu`."""
    found = _GPU.match(engine_name)
    if found is None or found.group(1).upper() == "CPU":
        return "cpu"
    backend, index = found.groups()
    return f"{'metal' if backend == 'MTL' else backend.lower()}:{index}"
