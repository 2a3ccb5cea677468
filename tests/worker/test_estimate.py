"""The estimate of a worker's memory against what real ones take."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from rbee.edge.process_table import memory_bytes
from rbee.models.gguf import read_facts
from rbee.policy.memory import Shape, need
from tests.worker_run import KEY, worker_run

OFF_BY = 0.15
"""Above or below: the promise of the estimate."""

WORDS = "the bees dance for one another at noon " * 25


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("context_tokens", [512, 4096, 8192])
def test_the_estimate_is_near_the_use(
    tmp_path: Path, model_file: Path, context_tokens: int, slots: int
) -> None:
    """Both processes, after a prompt of 200 words, without the cache of old prompts."""
    facts = read_facts(model_file, model="smollm2")
    shape = Shape(model_file.stat().st_size, facts.layers, facts.kv_width, facts.vocabulary)
    estimate = need(
        shape, context_tokens=context_tokens, slots=slots, batch_tokens=64, cache_bytes=0
    ).all_bytes
    size = {"context_tokens": context_tokens, "slots": slots, "cache_ram_mib": 0}
    with worker_run(tmp_path, model_file, **size) as run:
        said = run.listening()
        connection = http.client.HTTPConnection("127.0.0.1", said.port, timeout=60)
        body = json.dumps({"prompt": WORDS[: 4 * context_tokens], "max_tokens": 4})
        head = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", body, head)
        assert connection.getresponse().status == 200
        used = memory_bytes({run.process.pid, said.engine_pid})
    assert abs(estimate / used - 1) < OFF_BY, f"estimated {estimate >> 20}, used {used >> 20} MiB"
