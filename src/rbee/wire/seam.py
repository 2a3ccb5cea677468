"""Where one attempt's chunks are joined to what an earlier one has delivered.

`Replay` takes the same answer again from its start: what the client has is compared and swallowed,
as text and not as bytes, and a chunk that reaches beyond it is cut at the right character.
`Continuation` takes an answer that goes on from the delivered text. Both keep the first attempt's
id, created and fingerprint: to the client it is one answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from rbee.wire.transcript import Head, Said, Transcript


class Diverged(Exception):
    """The attempt says something else than what the client already has."""


class Seam(Protocol):
    over: bool
    """The answer ends here, whatever the engine would still say."""

    @property
    def covered(self) -> bool:
        """Whether all that the client has was met: what comes from now on is new."""

    def take(self, data: bytes) -> bytes | None:
        """The part of a chunk that the client does not have; None: it has all of it.

        Raises Diverged.
        """


class Replay:
    """Compares an answer from its start with what was delivered."""

    def __init__(self, transcript: Transcript) -> None:
        self.over = False
        self._head = transcript.head
        self._choices = {index: _Known(said) for index, said in transcript.choices.items()}
        self._usages = transcript.usages

    @property
    def covered(self) -> bool:
        return self._usages == 0 and all(one.covered for one in self._choices.values())

    def take(self, data: bytes) -> bytes | None:
        value = msgspec.json.decode(data)
        choices = value.get("choices")
        if not choices:
            if self._usages:
                self._usages -= 1
                return None
        else:
            value["choices"] = [one for one in choices if self._is_new(one)]
            if not value["choices"]:
                return None
        return _encoded(value, self._head)

    def _is_new(self, choice: dict[str, Any]) -> bool:
        known = self._choices.get(choice.get("index") or 0)
        return known is None or known.cut(choice)


class Continuation:
    """Takes an answer that goes on from the delivered text of one choice."""

    def __init__(self, transcript: Transcript, stops: Sequence[str]) -> None:
        self.over = False
        self._head = transcript.head
        said = transcript.choices.get(0, Said())
        self._role = said.role
        self._delivered_tokens = transcript.tokens
        self._prompt_tokens = transcript.prompt_tokens
        self._stop = _StopAtSeam(said.text, stops)

    @property
    def covered(self) -> bool:
        return True

    def take(self, data: bytes) -> bytes | None:
        value = msgspec.json.decode(data)
        usage = value.get("usage")
        if usage:
            self._correct(usage)
        kept = [one for one in value.get("choices") or () if self._is_new(one)]
        if not kept and not usage:
            return None
        if "choices" in value:
            value["choices"] = kept
        return _encoded(value, self._head)

    def _is_new(self, choice: dict[str, Any]) -> bool:
        delta = choice.get("delta")
        holder, name = (choice, "text") if delta is None else (delta, "content")
        if delta is not None and self._role:
            delta.pop("role", None)
        piece = holder.get(name)
        finish = choice.get("finish_reason")
        if isinstance(piece, str) or finish is not None:
            text = self._stop.take(piece or "", last=finish is not None)
            if text or piece is not None:
                holder[name] = text
            if self._stop.met:
                choice["finish_reason"] = "stop"
                self.over = True
        return bool(
            holder.get(name)
            or choice.get("finish_reason") is not None
            or any(value is not None for key, value in (delta or {}).items() if key != "content")
        )

    def _correct(self, usage: dict[str, Any]) -> None:
        """The usage of an answer that nothing interrupted: the delivered part is no prompt."""
        prompt = self._prompt_tokens or max(
            0, int(usage.get("prompt_tokens") or 0) - self._delivered_tokens
        )
        said = int(usage.get("completion_tokens") or 0) + self._delivered_tokens
        usage.update(prompt_tokens=prompt, completion_tokens=said, total_tokens=prompt + said)


class _StopAtSeam:
    """Finds a stop string of which one part was delivered and the rest comes now.

    The engine holds back what may become a stop string, but it knows only its own attempt's text.
    """

    def __init__(self, delivered: str, stops: Sequence[str]) -> None:
        self.met = False
        self._starts = [
            stop[length:]
            for stop in stops
            for length in range(1, len(stop))
            if delivered.endswith(stop[:length])
        ]
        self._held = ""

    def take(self, piece: str, *, last: bool) -> str:
        """What of the text may go out now."""
        if self.met or not self._starts:
            return "" if self.met else piece
        self._held += piece
        if any(self._held.startswith(rest) for rest in self._starts):
            self.met = True
            return ""
        self._starts = [rest for rest in self._starts if rest.startswith(self._held) and not last]
        if self._starts:
            return ""
        held, self._held = self._held, ""
        return held


@dataclass(slots=True)
class _Text:
    """A text that the client has, and how much of it the attempt has said again."""

    text: str
    at: int = 0

    def rest(self, piece: str) -> str:
        """What of the next piece is new. Raises Diverged."""
        known = self.text[self.at : self.at + len(piece)]
        if not piece.startswith(known):
            raise Diverged
        self.at += len(known)
        return piece[len(known) :]

    @property
    def covered(self) -> bool:
        return self.at == len(self.text)


class _Known:
    """One choice that the client has a part of."""

    def __init__(self, said: Said) -> None:
        self._content = _Text(said.text)
        self._reasoning = _Text("".join(said.reasoning))
        self._calls = {
            index: (call.id, _Text("".join(call.name)), _Text("".join(call.arguments)))
            for index, call in said.calls.items()
        }
        self._logprobs = said.logprobs
        self._role = said.role
        self._finish = said.finish

    @property
    def covered(self) -> bool:
        texts = [self._content, self._reasoning]
        texts += [text for _, *both in self._calls.values() for text in both]
        return self._finish is None and all(text.covered for text in texts)

    def cut(self, choice: dict[str, Any]) -> bool:
        """Take out of a chunk's choice what the client has; whether anything is left.

        Raises Diverged.
        """
        was_covered = self.covered
        new = self._cut_text(choice, "text", self._content)
        delta = choice.get("delta")
        if isinstance(delta, dict):
            new |= self._cut_delta(delta, was_covered)
        new |= self._cut_logprobs(choice, was_covered)
        finish = choice.get("finish_reason")
        if finish is not None and finish == self._finish:
            self._finish = None
            return self._all_said(finish)
        if (new or finish is not None) and not self.covered:
            raise Diverged
        return new or finish is not None

    def _all_said(self, finish: str) -> bool:
        """The finish that the client has: all of its text must have come before it."""
        if not self.covered:
            raise Diverged
        return False

    def _cut_delta(self, delta: dict[str, Any], was_covered: bool) -> bool:
        new = self._cut_text(delta, "content", self._content)
        for name in ("reasoning_content", "reasoning"):
            new |= self._cut_text(delta, name, self._reasoning)
        if self._role:
            delta.pop("role", None)
        calls = delta.get("tool_calls")
        if calls:
            delta["tool_calls"] = [
                one for at, one in enumerate(calls) if self._cut_call(one.get("index", at), one)
            ]
            new |= bool(delta["tool_calls"])
            if not delta["tool_calls"]:
                del delta["tool_calls"]
        texts = ("content", "reasoning_content", "reasoning", "tool_calls")
        others = any(value is not None for key, value in delta.items() if key not in texts)
        return new or (others and was_covered)

    def _cut_call(self, index: int, call: dict[str, Any]) -> bool:
        known = self._calls.get(index)
        if known is None:
            return True
        id_, name, arguments = known
        if id_:
            call.pop("id", None)
            call.pop("type", None)
        function = call.get("function") or {}
        new = self._cut_text(function, "name", name)
        if not function.get("name"):
            function.pop("name", None)
        return self._cut_text(function, "arguments", arguments) or new

    def _cut_logprobs(self, choice: dict[str, Any], was_covered: bool) -> bool:
        """Probabilities are counted, one entry a token; those of a new token stay."""
        entries = (choice.get("logprobs") or {}).get("content")
        if not entries:
            return False
        skipped = min(len(entries), self._logprobs)
        self._logprobs -= skipped
        choice["logprobs"]["content"] = entries[skipped:]
        return was_covered and len(entries) > skipped

    @staticmethod
    def _cut_text(holder: dict[str, Any], name: str, known: _Text) -> bool:
        piece = holder.get(name)
        if not isinstance(piece, str) or not piece:
            return False
        holder[name] = known.rest(piece)
        return bool(holder[name])


def _encoded(value: dict[str, Any], head: Head | None) -> bytes:
    if head is not None:
        for name in ("id", "created", "system_fingerprint"):
            first = getattr(head, name)
            if first is not None and name in value:
                value[name] = first
    return msgspec.json.encode(value)
