"""Promises of `worker.hosted_engine`: the settings that the lab proved reach the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbee.wire import lifeline
from rbee.wire.lifeline import WorkerSpec
from rbee.worker.hosted_engine import parameters, run


def _spec(**settings: object) -> WorkerSpec:
    facts = {"id": "w", "model": "m:1", "path": "/p/m.gguf", "lifeline": "/l", "log": "/log"}
    return WorkerSpec(**{**facts, **settings})  # type: ignore[arg-type]


def test_settings_are_those_that_the_lab_proved() -> None:
    """Threads, ping, cache, checks and batch as asked; loopback, the key, the alias."""
    params = parameters(_spec(context_tokens=1000, slots=3, threads=2), "key", "none")
    assert (params.n_ctx, params.n_parallel) == (3000, 3)
    assert (params.n_batch, params.n_ubatch) == (64, 64)
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 2
    assert params.sse_ping_interval == 1
    assert params.cache_ram_mib == 256
    assert params.check_tensors
    assert not params.fit_params
    assert not params.ui
    assert list(params.hostnames) == ["127.0.0.1"]
    assert list(params.api_keys) == ["key"]
    assert set(params.model_alias) == {"m:1"}


def test_an_embedding_worker_is_pooled() -> None:
    """Embeddings on, by the way that was chosen, the whole input in a batch."""
    params = parameters(_spec(mode="embedding", context_tokens=512), "key", "last")
    assert params.embedding
    assert params.pooling_type.name == "LLAMA_POOLING_TYPE_LAST"
    assert params.n_ubatch == 512


def test_the_processor_alone_means_no_layer_elsewhere() -> None:
    """`--device cpu` on a machine with a GPU uses none of it."""
    assert parameters(_spec(device="cpu"), "", "none").n_gpu_layers == 0


def test_a_flag_that_is_refused_ends_before_the_load(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and the words of llama-server, which the table of messages knows."""
    path = tmp_path / "spec.json"
    path.write_bytes(lifeline.encode(_spec(args=("--no-such-flag",))))
    assert run(path, "none") == 1
    assert "error: invalid argument: --no-such-flag" in capfd.readouterr().err
