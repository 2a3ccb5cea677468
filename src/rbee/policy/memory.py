"""How much memory a worker will need, before it is started: from facts of its file alone.

Weights are mapped from the file, and workers of one file share them. The rest is a worker's own:
the KV cache, which is filled with zeros and so taken at once; what computing takes; the prompts
that the engine keeps; the processes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

_KV_ELEMENT_BYTES = 2
"""f16, the engine's default."""

_PROCESS_BYTES = 80 << 20
"""Interpreter, libraries and threads of worker and engine, with SmolLM2 (docs/measured.md)."""

_GPU_BYTES = 512 << 20
"""What a driver keeps for a process that computes, and what lies between the layers there; the
engine's own `--fit` leaves 1,024 MiB of each device."""

_LOGIT_BYTES = 4
_UNKNOWN_VOCABULARY = 256 << 10
"""Larger than any that is in use."""

_UNKNOWN_KV_SHARE = 0.125
"""Of the weights, per 4,096 tokens, where the file does not tell its shape: what models of 8
billion weights with grouped attention need at 4 bits."""

LIMIT_FACTOR = 1.2
"""Of the estimate: where a worker is stopped before it takes the machine down."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a file says that decides about memory."""

    file_bytes: int
    layers: int = 0
    kv_width: int = 0
    """Elements of key and value of one token in one layer; 0: not known."""
    vocabulary: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of one worker."""

    weights_bytes: int
    """Shared by all workers of the same file."""
    own_bytes: int

    @property
    def all_bytes(self) -> int:
        return self.weights_bytes + self.own_bytes


def need(
    shape: Shape, *, context_tokens: int, slots: int, batch_tokens: int, cache_bytes: int
) -> Need:
    """What a worker of this file takes, with so many tokens for each slot."""
    own = _kv_bytes(shape, context_tokens * slots) + _compute_bytes(shape, batch_tokens)
    return Need(shape.file_bytes, own + cache_bytes + _PROCESS_BYTES)


def gpu_need(shape: Shape, tokens: int, batch_tokens: int, share: float) -> Need:
    """What it takes of a GPU that holds this share of its layers, for so many tokens in all."""
    held = (shape.file_bytes + _kv_bytes(shape, tokens)) * share
    return Need(0, int(held) + _compute_bytes(shape, batch_tokens) + _GPU_BYTES)


def part(needed: Need, share: float) -> Need:
    """The same share of weights and cache; what the processes take is not divided."""
    divided = max(0, needed.own_bytes - _PROCESS_BYTES)
    own = int(divided * share) + min(needed.own_bytes, _PROCESS_BYTES)
    return Need(int(needed.weights_bytes * share), own)


def limit_bytes(needed: Need) -> int:
    """Where its control group stops it."""
    return int(needed.all_bytes * LIMIT_FACTOR)


def _kv_bytes(shape: Shape, tokens: int) -> int:
    if shape.layers and shape.kv_width:
        return shape.layers * shape.kv_width * _KV_ELEMENT_BYTES * tokens
    return int(shape.file_bytes * _UNKNOWN_KV_SHARE * tokens / 4096)


def _compute_bytes(shape: Shape, batch_tokens: int) -> int:
    """The logits of a batch, and as much again for what lies between the layers."""
    return 2 * _LOGIT_BYTES * batch_tokens * (shape.vocabulary or _UNKNOWN_VOCABULARY)
