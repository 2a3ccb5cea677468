"""One streamed answer as the command line reads it: text, news, and how it ended.

It is the answer of a job, so that it survives the death of the rbee that gives it: what was read
last has an id, and the next connection goes on after it. An answer is whole only with a
`finish_reason`; a stream that ends without one, with `[DONE]` or without, is a failure.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rbee.edge.local_http import Broken, Reply
from rbee.errors import RbeeError
from rbee.keeper.connection import Connection
from rbee.keeper.failure import error_from

CHAT = "/v1/chat/completions"

_QUIET_S = 10.0
"""Silence after which rbee is asked whether it lives, and the time that it has for its answer."""

_EVENTS = (("X-Rbee-Events", "1"), ("Accept", "text/event-stream"))
_GONE = ("NOT_RUNNING", "CONNECTION_LOST")
_NO_WAY = ("NETWORK_UNREACHABLE", "NETWORK_PAUSED")
_CANNOT_KEEP = ("DISK_FULL", "DISK_READ_ONLY", "DISK_PERMISSION", "DISK_IO", "JOBS_FULL")

BringBack = Callable[[RbeeError, int], None]
"""Told that rbee is gone, and how often in a row; returns when it can be asked again."""


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


class Reading:
    """An answer as far as it was read; text and news are handed on."""

    def __init__(
        self,
        model: str,
        *,
        on_text: Callable[[str], None],
        on_news: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.last_id = ""
        """Of the last event that was read."""
        self.summary = Summary()
        self._model = model
        self._on_text = on_text
        self._on_news = on_news
        self.quiet_since = self._begun_at = time.monotonic()
        self._first_at = 0.0
        self._last_at = 0.0
        self._pieces: list[str] = []
        self._used = 0

    @property
    def text(self) -> str:
        """As much as has come."""
        return "".join(self._pieces)

    def read(self, connection: Connection, reply: Reply) -> None:
        """To the end of the answer. Raises what ended it, WORKER_LOST, CONNECTION_LOST."""
        try:
            for id_, value in _events(reply.lines()):
                self._take(value)
                self.last_id = id_ or self.last_id
        except (Broken, ValueError) as exc:
            raise connection.lost(exc) from exc
        finally:
            reply.close()
        if not self.summary.finish_reason:
            raise RbeeError(
                "WORKER_LOST",
                model=self._model,
                tokens=len(self._pieces),
                problem="the answer ended without its end mark",
            )

    def summed(self) -> Summary:
        summary = self.summary
        summary.text = self.text
        summary.tokens = self._used or len(self._pieces)
        if self._pieces:
            summary.first_after_s = self._first_at - self._begun_at
        took_s = self._last_at - self._first_at
        if took_s > 0 and summary.tokens > 1:
            summary.tokens_per_s = (summary.tokens - 1) / took_s
        return summary

    def _take(self, value: Mapping[str, Any]) -> None:
        self.quiet_since = time.monotonic()
        if "error" in value:
            raise error_from(value)
        if isinstance(value.get("usage"), dict):
            self._used = int(value["usage"].get("completion_tokens") or 0)
        rbee = value.get("rbee")
        for choice in value.get("choices") or ():
            content = (choice.get("delta") or {}).get("content") or choice.get("text")
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


class Answering:
    """Asks as a job and reads its answer."""

    def __init__(
        self,
        connection: Connection,
        question: Question,
        reading: Reading,
        *,
        on_tick: Callable[[], None],
        on_unkept: Callable[[RbeeError], None],
        bring_back: BringBack,
    ) -> None:
        self._connection = connection
        self._question = question
        self._reading = reading
        self._on_tick = on_tick
        self._on_unkept = on_unkept
        self._bring_back = bring_back
        self._begun_at = time.monotonic()
        self._hangs = False

    def run(self) -> None:
        """Until the end of the answer; leaving it by an exception cancels the job.

        Raises what rbee answers, WORKER_LOST, CONNECTION_LOST or DEADLINE_EXCEEDED.
        """
        reading = self._reading
        try:
            reading.summary.job = self._made()
        except RbeeError as error:
            if error.code not in _CANNOT_KEEP:
                raise
            self._on_unkept(error)
            self._read_plain()
            return
        try:
            follow(
                self._connection,
                reading.summary.job,
                reading,
                on_tick=self._tick,
                bring_back=self._again,
            )
        except BaseException as exc:
            if not isinstance(exc, RbeeError) or exc.code == "DEADLINE_EXCEEDED":
                cancel(self._connection, reading.summary.job)
            raise

    def _made(self) -> str:
        """The job's id. Sent again under the same key if rbee died before it answered."""
        ask = {"endpoint": CHAT, "request": self._question.body(), "on_disconnect": "cancel"}
        key = (("Idempotency-Key", os.urandom(16).hex()),)
        tries = 0
        while True:
            try:
                reply = self._connection.open(
                    "POST", "/v1/jobs", ask, headers=key, on_tick=self._tick
                )
                return str(self._connection.value_of(reply)["job_id"])
            except RbeeError as error:
                if error.code not in _GONE:
                    raise
                tries += 1
                self._again(error, tries)

    def _read_plain(self) -> None:
        """As a plain stream, which ends with its connection."""
        reply = self._connection.open(
            "POST", CHAT, self._question.body(), headers=_EVENTS, on_tick=self._tick
        )
        job = reply.header("x-rbee-job") or reply.header("x-request-id")
        self._reading.summary.job = job or ""
        self._reading.read(self._connection, reply)

    def _tick(self) -> None:
        self._check_deadline()
        self._check_silence()
        self._on_tick()

    def _check_silence(self) -> None:
        """A long prompt is silent too: rbee is asked whether it lives. Raises CONNECTION_LOST."""
        if time.monotonic() - self._reading.quiet_since > _QUIET_S:
            try:
                self._connection.get("/rbee/status", within_s=_QUIET_S, again=False)
            except RbeeError:
                self._hangs = self._connection.local
                raise
            self._reading.quiet_since = time.monotonic()

    def _check_deadline(self) -> None:
        """rbee keeps the deadline too; this one holds if it does not answer at all."""
        limit_s = self._question.timeout_s
        if limit_s is not None and time.monotonic() - self._begun_at > limit_s + 0.5:
            phase = "being written" if self._reading.text else "waiting"
            raise RbeeError("DEADLINE_EXCEEDED", deadline_s=limit_s, phase=phase)

    def _again(self, error: RbeeError, tries: int) -> None:
        """One that is gone is brought back; one that hangs would not answer another call."""
        if self._hangs:
            raise error
        self._bring_back(error, tries)


def follow(
    connection: Connection,
    job: str,
    reading: Reading,
    *,
    on_tick: Callable[[], None],
    bring_back: BringBack,
) -> None:
    """Read a job's answer from where `reading` stands to its end, however often rbee dies.

    Raises what ended the answer; CONNECTION_LOST if the way to rbee broke and stays so.
    """
    tries = 0
    lost: RbeeError | None = None
    while True:
        before = reading.last_id
        last = (("Last-Event-ID", before),) if before else ()
        try:
            reply = connection.open(
                "GET", f"/v1/jobs/{job}/stream", None, headers=last, on_tick=on_tick
            )
            reading.read(connection, reply)
            return
        except RbeeError as error:
            if lost is not None and error.code in _NO_WAY:
                raise lost from error
            if error.code not in _GONE:
                raise
            lost = error
            tries = 1 if reading.last_id != before else tries + 1
            bring_back(error, tries)


def cancel(connection: Connection, job: str) -> None:
    """End a job; one that cannot be reached ends by itself, as nobody follows it any more."""
    try:
        connection.open("DELETE", f"/v1/jobs/{job}", None).close()
    except RbeeError:
        return


def _events(lines: Iterator[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of an event stream, each with its id if it has one; `[DONE]` ends it."""
    id_ = ""
    for line in lines:
        if line.startswith(b"id:"):
            id_ = line[3:].strip().decode("latin-1")
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        value = json.loads(data)
        if isinstance(value, dict):
            yield id_, value
        id_ = ""
