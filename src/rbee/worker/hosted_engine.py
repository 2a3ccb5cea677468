"""The engine `llama-cpp`: llama.cpp's server inside this process, by way of `xllamacpp`.

Run by the worker as a child of its own, since loading holds the interpreter. It takes no signals of
its own: SIGTERM ends it at once, because whoever sends that has drained it before.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from rbee.wire.lifeline import WorkerSpec, decode_spec
from rbee.worker import engine_command
from rbee.worker.engine_flags import FlagError, apply_flags

_PARENT_LOOK_S = 1.0


def run(spec_path: Path, pooling: str) -> int:
    """Load, serve until killed. Returns the exit code of a failed load; the log has the why."""
    import xllamacpp

    parent = os.getppid()
    spec = decode_spec(spec_path.read_bytes())
    try:
        params = parameters(spec, os.environ.pop(engine_command.KEY_VARIABLE, ""), pooling)
        apply_flags(params, spec.args)
    except FlagError as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return 1
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as problem:
        print(f"rbee worker: {problem}", file=sys.stderr, flush=True)
        return 1
    while os.getppid() == parent:
        time.sleep(_PARENT_LOOK_S)
    del server
    return 0


def parameters(spec: WorkerSpec, key: str, pooling: str) -> Any:
    """`CommonParams` of a spec: the settings that the lab proved."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = spec.path
    params.model_alias = {spec.model}
    params.hostnames = ["127.0.0.1"]
    params.port = spec.port
    params.api_keys = [key] if key else []
    params.n_parallel = spec.slots
    params.n_ctx = spec.context_tokens * spec.slots
    params.n_batch = params.n_ubatch = engine_command.batch_tokens(spec)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec.threads
    params.n_threads_http = spec.slots + engine_command.HTTP_THREADS_SPARE
    params.sse_ping_interval = engine_command.SSE_PING_S
    params.cache_ram_mib = spec.cache_ram_mib
    params.check_tensors = True
    params.fit_params = False
    params.endpoint_metrics = params.endpoint_slots = True
    params.ui = False
    params.offline = True
    if spec.device == "cpu":
        params.n_gpu_layers = 0
    elif spec.device != "auto":
        params.n_gpu_layers = spec.gpu_layers
        params.verbosity = int(engine_command.TELLS_DEVICES)
    if spec.mode == "embedding":
        params.embedding = True
        params.pooling_type = getattr(
            xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{pooling.upper()}"
        )
    return params
