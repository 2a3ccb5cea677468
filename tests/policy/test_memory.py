"""Promises about what a worker will need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.memory import LIMIT_FACTOR, Shape, limit_bytes, need

SMOL = Shape(98_362_432, layers=30, kv_width=384, vocabulary=49_152)
"""SmolLM2-135M in 4 bits."""


def test_the_cache_of_keys_and_values_is_counted_for_every_slot() -> None:
    """30 layers, 192 + 192 elements of 2 bytes for a token: 22.5 KiB each."""
    one = need(SMOL, context_tokens=4096, slots=1, batch_tokens=64, cache_bytes=0)
    four = need(SMOL, context_tokens=4096, slots=4, batch_tokens=64, cache_bytes=0)
    assert four.own_bytes - one.own_bytes == 3 * 4096 * 30 * 384 * 2
    assert one.weights_bytes == SMOL.file_bytes


def test_a_file_that_tells_no_shape_is_estimated_by_its_size() -> None:
    """Never nothing: an unknown model of 4 GiB gets 512 MiB for 4,096 tokens."""
    unknown = need(Shape(4 << 30), context_tokens=4096, slots=1, batch_tokens=1, cache_bytes=0)
    assert unknown.own_bytes > 512 << 20


@given(st.integers(1, 1 << 20), st.integers(1, 64), st.integers(1, 4096), st.integers(0, 1 << 30))
def test_more_is_never_less(context: int, slots: int, batch: int, cache: int) -> None:
    """Every wish for more needs at least as much, and the limit leaves room above it."""
    small = need(SMOL, context_tokens=context, slots=slots, batch_tokens=batch, cache_bytes=cache)
    large = need(
        SMOL, context_tokens=context + 1, slots=slots + 1, batch_tokens=batch + 1, cache_bytes=cache
    )
    assert large.own_bytes > small.own_bytes >= cache
    assert limit_bytes(small) == int(small.all_bytes * LIMIT_FACTOR)
