"""Which codes each scenario saw: in answers over HTTP, on screens, in the event log of its home.

Nothing here knows what a scenario is about: it looks at every byte that rbee sent to it. A code
counts where it names what has happened, not where a person asks what a code means.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

FOLDER = "RBEE_CODES_SEEN"
"""Names the folder to which a run writes what it saw; `scripts/coverage` joins those of a complete
run."""
_IN_JSON = re.compile(r'"code":\s?"([A-Z][A-Z0-9_]+)"')
_LAST_LINE = re.compile(r"^  ([A-Z][A-Z0-9_]+)(?: · \S+)?$", re.MULTILINE)
"""Of a command that failed."""
_ON_SCREEN = re.compile(r"\b([A-Z][A-Z0-9]*_[A-Z0-9_]+)\b")
_TELLS_OF_BEFORE = ("explain", "events", "/rbee/events")
"""Their answers are about what was or could be; only that they fail is about now."""
_TAIL = 200
"""A code may lie across two pieces."""


class Seen:
    """What the scenario that runs has seen so far."""

    def __init__(self) -> None:
        self.codes: set[str] = set()
        self._log = Path()
        self._log_bytes = 0

    def begin(self) -> None:
        self.codes = set()
        self._log = Path()

    def take(self, text: str) -> None:
        """What came over HTTP, or stands in a log."""
        self.codes |= {*_IN_JSON.findall(text)}

    def take_screen(self, text: str, *, asked: bool) -> None:
        """What a command printed; `asked`: it was to tell of codes."""
        self.take(text)
        self.codes |= {*_LAST_LINE.findall(text)}
        if not asked:
            self.codes |= {*_ON_SCREEN.findall(text)}

    def follow(self, home: Path) -> None:
        """From now on the event log of that home is part of it."""
        self._log = home / "state" / "events.jsonl"
        self._log_bytes = self._log.stat().st_size if self._log.exists() else 0

    def read_log(self) -> None:
        if self._log.is_file():
            self.take(self._log.read_bytes()[self._log_bytes :].decode("utf-8", "replace"))


SEEN = Seen()


class _Heard(httpx.SyncByteStream):
    """The body of an answer, looked at on its way to the step that asked."""

    def __init__(self, body: httpx.SyncByteStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        kept = ""
        for piece in self._body:
            kept = kept[-_TAIL:] + piece.decode("utf-8", "replace")
            SEEN.take(kept)
            yield piece

    def close(self) -> None:
        self._body.close()


def listen(patch: pytest.MonkeyPatch) -> None:
    """Hear what any step gets over HTTP and from any command, until the patch is undone."""
    send, communicate = httpx.HTTPTransport.handle_request, subprocess.Popen.communicate

    def heard(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = send(self, request)
        if request.url.path not in _TELLS_OF_BEFORE:
            assert isinstance(answer.stream, httpx.SyncByteStream)
            answer.stream = _Heard(answer.stream)
        return answer

    def said(self: subprocess.Popen[Any], *given: Any, **named: Any) -> tuple[Any, Any]:
        found = communicate(self, *given, **named)
        words = self.args if isinstance(self.args, list) else [self.args]
        asked = bool({*_TELLS_OF_BEFORE} & {str(word) for word in words})
        for text in found[1:] if asked else found:
            plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            SEEN.take_screen(plain or "", asked=asked)
        return found

    patch.setattr(httpx.HTTPTransport, "handle_request", heard)
    patch.setattr(subprocess.Popen, "communicate", said)


class Record:
    """Of a whole run, in the process that was started first: scenarios that passed, with what they
    saw, and those that were skipped, with why."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}.json"
        self._seen: dict[str, dict[str, list[str]]] = {}
        self._failed: set[str] = set()
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        if report.failed:
            self._failed.add(report.nodeid)
        elif report.skipped and "scenario" in told:
            self._skipped[told["scenario"]] = str(report.longrepr)[-200:]
        elif report.when == "teardown" and "scenario" in told:
            self._seen[report.nodeid] = told

    def pytest_sessionfinish(self) -> None:
        passed = [told for node, told in self._seen.items() if node not in self._failed]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps({"passed": passed, "skipped": self._skipped}, indent=1))
