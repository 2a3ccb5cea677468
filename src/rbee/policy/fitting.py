"""What a model is run with where memory is short: fewer slots, then a shorter context, then a part
of its layers on the GPU. Only what a person did not set himself is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rbee.policy.memory import Need, Shape, gpu_need, need, part

ALL_LAYERS = -1
LAYER_FLAGS = frozenset({"-ngl", "--gpu-layers", "--n-gpu-layers", "-ts", "--tensor-split"})
"""With one of these a person has divided the layers himself."""

_EIGHTHS = 8
_LEAST_EIGHTHS = 2
"""With less than a quarter of its layers there a GPU gains less than the way to it costs."""

CONTEXT_GRAIN = 256


@dataclass(frozen=True, slots=True)
class Setting:
    """How large a worker is."""

    context_tokens: int
    """Per slot."""
    slots: int
    layers: int = ALL_LAYERS
    """On the GPU, the output counted as one."""


@dataclass(frozen=True, slots=True)
class Freedom:
    """What may be taken back."""

    slots: bool
    context: bool
    least_context: int
    layers: int = 0
    """Layers of the model, where it may lie on a GPU in part; 0: it may not."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a model's memory depends on beside the setting."""

    shape: Shape
    cache_bytes: int
    batch_tokens: int
    """0: a whole context at once (embeddings)."""

    def on_cpu(self, setting: Setting) -> Need:
        """Of this machine's memory, where the processor computes."""
        return need(
            self.shape,
            context_tokens=setting.context_tokens,
            slots=setting.slots,
            batch_tokens=self.batch_tokens or setting.context_tokens,
            cache_bytes=self.cache_bytes,
        )

    def on_gpu(self, setting: Setting) -> Need:
        """Of the GPU's memory: workers share nothing there."""
        batch = self.batch_tokens or setting.context_tokens
        tokens = setting.context_tokens * setting.slots
        return gpu_need(self.shape, tokens, batch, self._share(setting))

    def beside_gpu(self, setting: Setting) -> Need:
        """Of this machine's memory, for the layers that are not on the GPU."""
        return part(self.on_cpu(setting), 1 - self._share(setting))

    def _share(self, setting: Setting) -> float:
        layers = self.shape.layers + 1
        return 1.0 if setting.layers == ALL_LAYERS else min(1.0, setting.layers / layers)


def smaller(asked: Setting, free: Freedom) -> Iterator[Setting]:
    """Every step down from what was asked for, in order, each less than the one before."""
    now = asked
    while free.slots and now.slots > 1:
        now = replace(now, slots=now.slots // 2)
        yield now
    while free.context and now.context_tokens > free.least_context:
        now = replace(now, context_tokens=max(free.least_context, now.context_tokens // 2))
        yield now
    if free.layers:
        for eighths in range(_EIGHTHS - 1, _LEAST_EIGHTHS - 1, -1):
            yield replace(now, layers=max(1, (free.layers + 1) * eighths // _EIGHTHS))


def differences(asked: Setting, given: Setting, layers: int) -> list[str]:
    """In words, what of the setting is less than was asked for."""
    told = []
    if given.slots < asked.slots:
        told.append(f"slots={given.slots} instead of {asked.slots}")
    if given.context_tokens < asked.context_tokens:
        told.append(f"context={given.context_tokens} instead of {asked.context_tokens}")
    if given.layers != asked.layers:
        told.append(f"layers={given.layers} of {layers + 1} on the GPU")
    return told


def largest_context(fits: Callable[[int], bool], at_most: int) -> int:
    """The largest context that fits, in steps of `CONTEXT_GRAIN`; 0: none does."""
    low, high = 0, max(0, at_most) // CONTEXT_GRAIN
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle * CONTEXT_GRAIN):
            low = middle
        else:
            high = middle - 1
    return low * CONTEXT_GRAIN
