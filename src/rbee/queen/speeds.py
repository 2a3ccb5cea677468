"""How fast each worker reads prompts: whether its engine's cache saves anything to speak of."""

from __future__ import annotations

from rbee.wire.llama_server import PromptProgress

_WORTH_MEASURING_TOKENS = 16
_NEWEST_WEIGHT = 0.3


class PromptSpeeds:
    """By worker, in tokens a second."""

    def __init__(self) -> None:
        self._tokens_per_s: dict[str, float] = {}

    def forget(self, worker: str) -> None:
        self._tokens_per_s.pop(worker, None)

    def measured(self, worker: str, prompt: PromptProgress) -> None:
        """The engine has read a prompt, or a part of it, in so much time."""
        read = prompt.processed - prompt.cache
        if read < _WORTH_MEASURING_TOKENS or prompt.time_ms <= 0:
            return
        newest = read * 1000 / prompt.time_ms
        mean = self._tokens_per_s.get(worker, newest)
        self._tokens_per_s[worker] = mean + _NEWEST_WEIGHT * (newest - mean)

    def of(self, worker: str) -> float:
        """0: not measured."""
        return self._tokens_per_s.get(worker, 0.0)
