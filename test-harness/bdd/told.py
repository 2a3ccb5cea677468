"""A streamed answer as its client got it, taken apart."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Told:
    """A streamed answer, and when its tokens came."""

    texts: dict[int, str] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    usages: list[dict[str, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    rbee: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    """Of each token, from the beginning."""
    over: bool = False
    """It ended with [DONE]."""

    def take(self, data: str, at_s: float) -> None:
        if data == "[DONE]":
            self.over = True
            return
        value = json.loads(data)
        self.error = value.get("error") or self.error
        self.rbee = value.get("rbee") or self.rbee
        self.usages += [value["usage"]] if value.get("usage") else []
        self.ids |= {value["id"]} if "id" in value else set()
        for one in value.get("choices", ()):
            piece = (one.get("delta") or {}).get("content") or one.get("text") or ""
            index = one["index"]
            self.texts[index] = self.texts.get(index, "") + piece
            if piece:
                self.times.append(at_s)
            if one["finish_reason"]:
                self.finish[index] = one["finish_reason"]

    @property
    def whole(self) -> tuple[object, ...]:
        """What must be the same in an answer that nothing interrupted."""
        counts = sorted((one["completion_tokens"], one["prompt_tokens"]) for one in self.usages)
        return self.texts, self.finish, counts
