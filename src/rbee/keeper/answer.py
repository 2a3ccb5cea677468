"""One streamed answer as the command line reads it: text, news, and how it ended.

An answer is whole only with a `finish_reason`. A stream that ends without one, with `[DONE]` or
without, is a failure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rbee.edge.local_http import Broken
from rbee.errors import RbeeError
from rbee.keeper.connection import Connection
from rbee.keeper.failure import error_from

_QUIET_S = 10.0
"""Silence after which rbee is asked whether it lives, and the time that it has for its answer."""

_EVENTS = (("X-Rbee-Events", "1"), ("Accept", "text/event-stream"))


@dataclass(slots=True)
class Question:
    """What is asked; None leaves it to the model's defaults."""

    model: str
    messages: Sequence[Mapping[str, str]]
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    timeout_s: float | None = None

    def body(self) -> dict[str, Any]:
        asked = {
            "model": self.model,
            "messages": list(self.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "timeout_s": self.timeout_s,
        }
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(slots=True)
class Summary:
    """What the answer was like."""

    text: str = ""
    tokens: int = 0
    first_after_s: float = 0.0
    tokens_per_s: float = 0.0
    finish_reason: str = ""
    job: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """The `rbee` object of the last chunk: worker, device, what it ran on less than asked."""


class Answering:
    """Asks, hands on text and news, and keeps what the summary needs."""

    def __init__(
        self,
        connection: Connection,
        question: Question,
        *,
        on_text: Callable[[str], None],
        on_news: Callable[[Mapping[str, Any]], None],
        on_tick: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._question = question
        self._on_text = on_text
        self._on_news = on_news
        self._on_tick = on_tick
        self._begun_at = self._quiet_since = time.monotonic()
        self._first_at = 0.0
        self._last_at = 0.0
        self._pieces: list[str] = []
        self._used = 0
        self.summary = Summary()

    @property
    def text(self) -> str:
        """As much as has come."""
        return "".join(self._pieces)

    def run(self) -> Summary:
        """Until the end of the answer; leaving it by an exception hangs up, which cancels it.

        Raises what rbee answers, WORKER_LOST, CONNECTION_LOST or DEADLINE_EXCEEDED.
        """
        reply = self._connection.open(
            "POST",
            "/v1/chat/completions",
            self._question.body(),
            headers=_EVENTS,
            on_tick=self._tick,
        )
        self.summary.job = reply.header("x-request-id") or ""
        try:
            for value in _events(reply.lines()):
                self._take(value)
        except (Broken, ValueError) as exc:
            raise self._connection.lost(exc) from exc
        finally:
            reply.close()
        if not self.summary.finish_reason:
            raise RbeeError(
                "WORKER_LOST",
                model=self._question.model,
                tokens=len(self._pieces),
                problem="the answer ended without its end mark",
            )
        return self._summed()

    def _take(self, value: Mapping[str, Any]) -> None:
        self._quiet_since = time.monotonic()
        self._check_deadline()
        if "error" in value:
            raise error_from(value)
        if isinstance(value.get("usage"), dict):
            self._used = int(value["usage"].get("completion_tokens") or 0)
        rbee = value.get("rbee")
        for choice in value.get("choices") or ():
            content = (choice.get("delta") or {}).get("content")
            if content:
                self._hand_on(str(content))
            if choice.get("finish_reason"):
                self.summary.finish_reason = str(choice["finish_reason"])
                self.summary.facts = dict(rbee or {})
        if rbee and not value.get("choices"):
            self._on_news(rbee)

    def _hand_on(self, content: str) -> None:
        self._last_at = time.monotonic()
        if not self._pieces:
            self._first_at = self._last_at
        self._pieces.append(content)
        self._on_text(content)

    def _summed(self) -> Summary:
        summary = self.summary
        summary.text = self.text
        summary.tokens = self._used or len(self._pieces)
        if self._pieces:
            summary.first_after_s = self._first_at - self._begun_at
        took_s = self._last_at - self._first_at
        if took_s > 0 and summary.tokens > 1:
            summary.tokens_per_s = (summary.tokens - 1) / took_s
        return summary

    def _tick(self) -> None:
        self._check_deadline()
        self._check_silence()
        self._on_tick()

    def _check_silence(self) -> None:
        """A long prompt is silent too: rbee is asked whether it lives. Raises CONNECTION_LOST."""
        if time.monotonic() - self._quiet_since > _QUIET_S:
            self._connection.get("/rbee/status", within_s=_QUIET_S, again=False)
            self._quiet_since = time.monotonic()

    def _check_deadline(self) -> None:
        """rbee keeps the deadline too; this one holds if it does not answer at all."""
        limit_s = self._question.timeout_s
        if limit_s is not None and time.monotonic() - self._begun_at > limit_s + 0.5:
            phase = "being written" if self._pieces else "waiting"
            raise RbeeError("DEADLINE_EXCEEDED", deadline_s=limit_s, phase=phase)


def _events(lines: Iterator[bytes]) -> Iterator[Mapping[str, Any]]:
    """The objects of an event stream; `[DONE]` ends it."""
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        value = json.loads(data)
        if isinstance(value, dict):
            yield value
