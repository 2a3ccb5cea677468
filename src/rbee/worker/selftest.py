"""The self-test as a worker runs it: a few tokens of its own engine, before anybody is served.

Both engines answer llama.cpp's native routes. The prompt cache is not used and the first token is
one that no chat begins with: what the test leaves in its slot shortens nobody's prompt.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from rbee.policy import selftest
from rbee.policy.selftest import Answer
from rbee.wire.lifeline import SelfTest, WorkerSpec
from rbee.wire.unreadable import UNREADABLE
from rbee.worker import engine_command, engine_http

_CPU_MODEL = "model name"


class _Token(msgspec.Struct):
    logprob: float | None = None
    bytes: list[int] = []


class _Completion(msgspec.Struct):
    tokens: list[int] = []
    completion_probabilities: list[_Token] = []


class _Vector(msgspec.Struct):
    embedding: list[float | None] = []


class _Embedding(msgspec.Struct):
    data: list[_Vector] = []


async def run(
    spec: WorkerSpec, port: int, key: str, build: str, devices: Iterable[str]
) -> SelfTest:
    """Once, and once more if the answer is odd. Raises TimeoutError after spec.selftest_s, and
    ConnectionError when the engine is gone."""
    holds_for = selftest.key(facts(spec, build, devices))
    golden = spec.goldens.get(holds_for)
    began_at = time.monotonic()
    async with asyncio.timeout(spec.selftest_s):
        answer = await _answer(spec, port, key)
        if selftest.again(answer, golden):
            answer = await _answer(spec, port, key)
    return SelfTest(holds_for, answer, took_s=round(time.monotonic() - began_at, 3))


def facts(spec: WorkerSpec, build: str, devices: Iterable[str]) -> dict[str, str]:
    """What a golden answer of this worker depends on. Flash attention and the types of the KV cache
    are the engine's own choice unless `args` say otherwise, so build and args stand for them."""
    asked = hashlib.sha256("\0".join(spec.args).encode()).hexdigest()[:16] if spec.args else "none"
    return {
        "engine": spec.engine,
        "build": build,
        "devices": ",".join(sorted(devices)),
        **({"layers": str(spec.gpu_layers)} if spec.gpu_layers >= 0 else {}),
        "processor": _processor(),
        "mode": spec.mode,
        "threads": str(spec.threads),
        "batch": str(engine_command.batch_tokens(spec)),
        "args": asked,
    }


async def _answer(spec: WorkerSpec, port: int, key: str) -> Answer:
    path, asked = _request(spec)
    # The limit of the whole test comes first: status 0 is then an engine that hung up.
    later_s = 2 * spec.selftest_s
    status, body = await engine_http.post(port, path, key, msgspec.json.encode(asked), later_s)
    if not status:
        raise ConnectionError("the engine left in the middle of its self-test")
    if status != 200:
        return selftest.of_refusal(f"the engine answered {status}")
    try:
        return _vector(body) if spec.mode == "embedding" else _tokens(body)
    except UNREADABLE:
        return selftest.of_refusal("the engine answered nothing that can be read")


def _request(spec: WorkerSpec) -> tuple[str, dict[str, object]]:
    if spec.mode == "embedding":
        return "/v1/embeddings", {"input": selftest.PROMPT}
    return "/completion", {
        "prompt": selftest.PROMPT,
        "n_predict": selftest.TOKENS,
        "samplers": ["top_k"],
        "top_k": 1,
        "temperature": 0,
        "seed": 1,
        "ignore_eos": True,
        "grammar": "",
        "stop": [],
        "cache_prompt": False,
        "return_tokens": True,
        "n_probs": 1,
    }


def _tokens(body: bytes) -> Answer:
    said = msgspec.json.decode(body, type=_Completion)
    probabilities = said.completion_probabilities
    text = b"".join(bytes(one.bytes) for one in probabilities)
    return selftest.of_tokens(said.tokens, [one.logprob for one in probabilities], text)


def _vector(body: bytes) -> Answer:
    said = msgspec.json.decode(body, type=_Embedding)
    return selftest.of_vector(said.data[0].embedding if said.data else [])


def _processor() -> str:
    """Its name, as processors of several kinds round differently; empty where nothing says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(_CPU_MODEL))
    return next(named, "")
