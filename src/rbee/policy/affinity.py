"""Which worker has read how much of a conversation, as far as can be known from outside.

An engine keeps what it has read. A chat sends its whole past again with each turn, so the worker
that had the turn before reads only what is new. A conversation is known by hashes of its
beginnings, one at each message's end; a worker is remembered by the hashes of what it read. The
engine may have dropped it meanwhile: then the turn is read anew, as anywhere else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

_BYTES_PER_TOKEN = 4
"""English text in the tokenizers of our models: 3.5 to 4.5. An estimate is all that is needed."""
_FIRST, _LAST = 2, 30
"""Beginnings kept of one request: the system's part, and what the next turns may go on from."""
_BLOCK_CHARACTERS = 1024
"""A prompt that is one text has no messages: its beginnings are told apart by blocks."""
_BLOCK_TOKENS = 256
"""The same for one that is a list of tokens."""
_BLOCK_BYTES = 64 << 10
"""The same for what is too large to be read."""
WORTH_TOKENS = 64
"""Read in less than a second on one thread of a CPU: not worth choosing a worker for."""
_REMEMBERED = 4
"""Beginnings that a worker is remembered by after one turn."""
_PER_WORKER = 2048
"""Beginnings remembered of a worker, newest kept: some hundred conversations, more than any
engine's own cache holds."""


class Prefix(msgspec.Struct, frozen=True):
    """A beginning of a conversation."""

    mark: int
    """A hash of it, good within one process."""
    tokens: int


class Conversation(msgspec.Struct, frozen=True):
    """What a request has its worker read; shortest beginning first, the last is the whole."""

    prefixes: tuple[Prefix, ...] = ()

    @property
    def tokens(self) -> int:
        """About how many there are to read."""
        return self.prefixes[-1].tokens if self.prefixes else 0

    @property
    def mark(self) -> int:
        """The whole, for telling it apart from others; 0: nothing is known of it."""
        return self.prefixes[-1].mark if self.prefixes else 0


UNKNOWN = Conversation()


def conversation_of(body: Mapping[str, Any]) -> Conversation:
    """The conversation in a request of any dialect: system part, tools, then each message.

    One pass over the text, about 1 µs a message; nothing of it is kept. What was too large to be
    read (`msgspec.Raw`) is told apart by blocks.
    """
    heads = [body[name] for name in ("tools", "system", "instructions") if body.get(name)]
    parts = [*heads, *_parts(body)]
    if len(parts) <= len(heads):
        return UNKNOWN
    mark = read_bytes = 0
    found: list[Prefix] = []
    for number, part in enumerate(parts):
        data = part if isinstance(part, bytes) else msgspec.json.encode(part)
        mark = hash((mark, data))
        read_bytes += len(data)
        if number < _FIRST or number >= len(parts) - _LAST:
            tokens = max(1, read_bytes // _BYTES_PER_TOKEN)
            found.append(Prefix(mark, tokens))
    return Conversation(tuple(found))


def _parts(body: Mapping[str, Any]) -> Iterable[Any]:
    for name in ("messages", "input", "prompt"):
        value = body.get(name)
        if isinstance(value, list):
            # One token is no part: a million of them would be looked at one by one.
            tokens = bool(value) and isinstance(value[0], int)
            return _blocks(value, _BLOCK_TOKENS) if tokens else value
        if isinstance(value, str):
            return _blocks(value, _BLOCK_CHARACTERS)
        if isinstance(value, msgspec.Raw):
            return _blocks(bytes(value), _BLOCK_BYTES)
    return ()


def _blocks(value: Sequence[Any], length: int) -> list[Any]:
    return [value[at : at + length] for at in range(0, len(value), length)]


class Warmth:
    """What each worker has read lately. Bounded; every act takes the time of a few look-ups."""

    def __init__(self, per_worker: int = _PER_WORKER) -> None:
        self._per_worker = per_worker
        self._read: dict[str, OrderedDict[int, None]] = {}
        self._readers: dict[int, dict[str, None]] = {}

    def read(self, worker: str, conversation: Conversation) -> None:
        """The worker has read all of it just now."""
        own = self._read.setdefault(worker, OrderedDict())
        prefixes = conversation.prefixes
        for prefix in {*prefixes[:1], *prefixes[-(_REMEMBERED - 1) :]}:
            own[prefix.mark] = None
            own.move_to_end(prefix.mark)
            self._readers.setdefault(prefix.mark, {})[worker] = None
        while len(own) > self._per_worker:
            mark, _ = own.popitem(last=False)
            self._drop(mark, worker)

    def forget(self, worker: str) -> None:
        """It is gone, and what it had read with it."""
        for mark in self._read.pop(worker, ()):
            self._drop(mark, worker)

    def cached_prefix(self, worker: str, conversation: Conversation) -> int:
        """About how many tokens of it this worker need not read again."""
        own = self._read.get(worker)
        if own is None:
            return 0
        for prefix in reversed(conversation.prefixes):
            if prefix.mark in own:
                return prefix.tokens
        return 0

    def saved(self, conversation: Conversation, most: int = 8) -> dict[str, float]:
        """The share of it (0 to 1) that workers need not read, for the warmest few; nothing where
        so little is saved that any worker is as good."""
        found: dict[str, float] = {}
        for prefix in reversed(conversation.prefixes):
            if prefix.tokens < WORTH_TOKENS:
                break
            for worker in self._readers.get(prefix.mark, ()):
                if worker not in found:
                    found[worker] = prefix.tokens / conversation.tokens
                if len(found) >= most:
                    return found
        return found

    def _drop(self, mark: int, worker: str) -> None:
        readers = self._readers[mark]
        del readers[worker]
        if not readers:
            del self._readers[mark]
