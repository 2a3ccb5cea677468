"""Promises about how a model is made to fit."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rbee.policy.fitting import (
    CONTEXT_GRAIN,
    Freedom,
    Setting,
    Sizing,
    differences,
    largest_context,
    smaller,
)
from rbee.policy.memory import Shape

SMOL = Shape(98_362_432, layers=30, kv_width=384, vocabulary=49_152)
LARGE = Shape(8 << 30, layers=32, kv_width=2048, vocabulary=128_256)
ASKED = Setting(4096, 4)


def test_slots_go_first_then_context_then_layers() -> None:
    """A chat alone is better than none; the whole model on the GPU is better than a long chat."""
    steps = list(smaller(ASKED, Freedom(True, True, 1500, layers=31)))
    assert steps[:4] == [
        Setting(4096, 2),
        Setting(4096, 1),
        Setting(2048, 1),
        Setting(1500, 1),
    ]
    assert [one.layers for one in steps[4:]] == [28, 24, 20, 16, 12, 8]
    assert all((one.context_tokens, one.slots) == (1500, 1) for one in steps[4:])


def test_what_a_person_set_is_never_taken_back() -> None:
    """--ctx and --parallel hold; only the rest moves."""
    steps = list(smaller(ASKED, Freedom(slots=False, context=True, least_context=2048)))
    assert steps == [Setting(2048, 4)]
    assert list(smaller(ASKED, Freedom(False, False, 1))) == []
    assert list(smaller(Setting(512, 1), Freedom(True, True, 2048))) == []


@given(st.integers(1, 1 << 20), st.integers(1, 64), st.integers(1, 8192), st.integers(1, 200))
def test_every_step_needs_less(context: int, slots: int, least: int, layers: int) -> None:
    """No step is a detour, and none goes below the floor."""
    asked = Setting(context, slots)
    sizing = Sizing(Shape(1 << 30, layers, 512, 32_000), 0, 64)
    steps = [asked, *smaller(asked, Freedom(True, True, least, layers=layers))]
    for one, other in pairwise(steps):
        assert sizing.on_gpu(other).all_bytes <= sizing.on_gpu(one).all_bytes
        assert other.slots >= 1 and other.context_tokens >= min(least, context)


def test_differences_are_told_in_words() -> None:
    """Each step that was taken is declared."""
    assert differences(ASKED, Setting(2048, 1, 12), 30) == [
        "slots=1 instead of 4",
        "context=2048 instead of 4096",
        "layers=12 of 31 on the GPU",
    ]
    assert differences(ASKED, ASKED, 30) == []


def test_what_lies_on_the_gpu_does_not_lie_in_memory() -> None:
    """Half the layers of 8 GiB of weights: half there, half here."""
    sizing = Sizing(LARGE, 0, 64)
    whole, half = Setting(4096, 1), Setting(4096, 1, 16)
    assert sizing.on_gpu(whole).all_bytes > LARGE.file_bytes
    assert 0.45 < sizing.on_gpu(half).all_bytes / sizing.on_gpu(whole).all_bytes < 0.6
    assert 0.45 < sizing.beside_gpu(half).weights_bytes / LARGE.file_bytes < 0.55
    assert sizing.beside_gpu(whole).weights_bytes == 0


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 20))
def test_the_largest_context_is_the_largest(limit: int, at_most: int) -> None:
    """It fits, and the next step up does not, or was not asked for."""
    found = largest_context(lambda tokens: tokens <= limit, at_most)
    assert found <= limit and found <= at_most
    assert found + CONTEXT_GRAIN > min(limit, at_most)


def test_a_whole_context_is_one_batch_of_an_embedding() -> None:
    """Its logits are counted for the whole of it."""
    chat, embedding = Sizing(SMOL, 0, 64), Sizing(SMOL, 0, 0)
    assert embedding.on_cpu(ASKED).own_bytes > chat.on_cpu(ASKED).own_bytes
