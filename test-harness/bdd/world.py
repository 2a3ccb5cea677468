"""The world of one scenario: an RBEE_HOME, what was done to it, and what came of it.

Outcomes have no setter: only `keeper` and `ask` fill them, with what the product did.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

import plain_http
import story
from eventually import eventually

RBEE = str(Path(sys.executable).with_name("rbee"))
PROCESSES = ("rbee.queen", "rbee.hive", "rbee.worker", "rbee.models")


@dataclass(frozen=True)
class Outcome:
    """What a command of the keeper did."""

    command: str
    code: int
    out: str
    err: str
    took_s: float

    def __str__(self) -> str:
        return f"$ rbee {self.command}\n[{self.code}] {self.took_s:.2f} s\n{self.out}\n{self.err}"


@dataclass
class Stream:
    """An answer that is being read by a thread."""

    lines: list[str] = field(default_factory=list)
    status: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    broken: str = ""
    hang_up: threading.Event = field(default_factory=threading.Event)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def tokens(self) -> int:
        return sum('"content":"' in line for line in self.lines)


class Home:
    """One RBEE_HOME and everything that runs in it."""

    def __init__(self, model: Path, **variables: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="rbee-bdd-"))
        self.model = model
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RBEE_")},
            "RBEE_HOME": str(self.path),
            "RBEE_THREADS": "1",
            "RBEE_PORT": "0",
            "RBEE_DEFAULTS_CTX": "512",
            "RBEE_DEFAULTS_PARALLEL": "2",
            "NO_COLOR": "1",
            **variables,
        }
        self.key = ""
        """Sent with every request, once rbee asks for one."""
        self.outcomes: list[Outcome] = []
        self.answers: list[httpx.Response] = []
        self.streams: list[Stream] = []
        self.story_began = 0.0
        self._last_story = ""
        """As it was when the end failed: after that nothing is left to tell it of."""
        self.answers_known: dict[str, Any] = {}
        """Answers that nothing interrupted, to compare others with."""

    def file(self, name: str = "tiny.gguf") -> Path:
        """The real model under a name of this home, without a copy."""
        path = self.path / "files" / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            try:
                os.link(self.model, path)
            except OSError:
                shutil.copy(self.model, path)
        return path

    def begin_story(self) -> None:
        """What was done in a home that many share is not told of the next scenario."""
        self.story_began = time.time()
        for told in (self.outcomes, self.answers, self.streams):
            told.clear()

    def keeper(self, *words: str, within_s: float = 60, text: str | None = None) -> Outcome:
        """Run `rbee …` to its end."""
        began = time.monotonic()
        done = subprocess.run(
            [RBEE, *words],
            check=False,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=within_s,
            input=text or "",
        )
        took_s = time.monotonic() - began
        outcome = Outcome(" ".join(words), done.returncode, done.stdout, done.stderr, took_s)
        self.outcomes.append(outcome)
        return outcome

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start `rbee …` and leave it running."""
        return subprocess.Popen(
            [RBEE, *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def url(self) -> str:
        return str(self.said("queen.json")["url"])

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def said(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.path / "run" / name).read_text()))

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One HTTP request on the network address."""
        headers = httpx.Headers(self.headers)
        headers.update(how.pop("headers", None) or {})
        answer = plain_http.request(method, self.url + path, timeout=60, headers=headers, **how)
        self.answers.append(answer)
        return answer

    def begin_ask(self, path: str, body: dict[str, Any]) -> Future[httpx.Response]:
        """The same, in the background."""
        found: Future[httpx.Response] = Future()

        def ask() -> None:
            try:
                found.set_result(plain_http.post(self.url + path, json=body, timeout=60))
            except httpx.HTTPError as error:
                found.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        return found

    def chat(self, **fields: Any) -> httpx.Response:
        return self.ask("POST", "/v1/chat/completions", json=chat_body(**fields))

    def stream(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Stream:
        """A streamed chat, read in the background."""
        found = Stream()
        self.streams.append(found)
        url, sent = self.url, {**self.headers, **(headers or {})}

        def read() -> None:
            try:
                with plain_http.stream(
                    "POST",
                    url + "/v1/chat/completions",
                    json=chat_body(stream=True, **fields),
                    headers=sent,
                    timeout=60,
                ) as answer:
                    found.status = answer.status_code
                    for line in answer.iter_lines():
                        found.lines.append(line)
                        if found.hang_up.is_set():
                            return
            except httpx.HTTPError as error:
                found.broken = repr(error)
            finally:
                found.ended.set()

        threading.Thread(target=read, daemon=True).start()
        return found

    def ps(self) -> dict[str, Any]:
        return dict(plain_http.get(self.url + "/rbee/ps", headers=self.headers, timeout=10).json())

    def workers(self, *states: str) -> list[dict[str, Any]]:
        return [one for one in self.ps()["workers"] if not states or one["state"] in states]

    def processes(self) -> list[psutil.Process]:
        """Everything that runs with this home in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("RBEE_HOME") == str(self.path)
                if mine and any(word in process.cmdline() for word in PROCESSES):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def left(self) -> list[str]:
        """What should not be here after `rbee down`."""
        run = self.path / "run"
        names = [one.name for one in run.iterdir()] if run.exists() else []
        files = [name for name in names if name.endswith((".sock", ".json"))]
        folders = [str(one) for one in (run / "workers").glob("*")]
        return [str(one) for one in self.processes()] + files + folders

    def end(self) -> None:
        """Stop everything, audit, remove. The audit fails the scenario."""
        try:
            outcome = self.keeper("down")
            assert outcome.code == 0, str(outcome)
            left = self.left()
            assert not left, f"left behind: {left}"
            mistakes = self.mistakes()
            assert not mistakes, f"a mistake of rbee's own: {mistakes}"
        except BaseException:
            self._last_story = story.tell(self)
            raise
        finally:
            for process in self.processes():
                process.send_signal(signal.SIGKILL)
            if os.environ.get(story.KEEP) != "1":
                shutil.rmtree(self.path, ignore_errors=True)

    def mistakes(self) -> list[str]:
        """Lines of rbee's own logs that tell of an exception which nobody foresaw."""
        logs = [self.path / "logs" / name for name in ("queen.log", "hive.log", "keeper.log")]
        lines = [
            line
            for log in logs
            if log.exists()
            for line in log.read_text(errors="replace").splitlines()
        ]
        return [line for line in lines if "Traceback" in line or "never retrieved" in line]

    def story(self) -> str:
        """What a person needs to see when a scenario is red."""
        return self._last_story or story.tell(self)


def chat_body(prompt: str = "Count to twenty.", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "tiny", "messages": messages, "max_tokens": 8, "seed": 1, **fields}


class World:
    """What the steps of one scenario share."""

    def __init__(self, home: Home, settings: Mapping[str, str], *, pair: bool = False) -> None:
        self.home = home
        self.pair = pair
        self.settings = dict(settings)
        self.outcome: Outcome | None = None
        self.answer: httpx.Response | None = None
        self.streams: list[Stream] = []
        self.seen: dict[str, Any] = {}
        """Facts of the product before the deed: pids, counts."""

    def keeper(self, *words: str, **how: Any) -> Outcome:
        self.outcome = self.home.keeper(*words, **how)
        return self.outcome

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        self.answer = self.home.ask(method, path, **how)
        return self.answer

    def error(self) -> dict[str, Any]:
        assert self.answer is not None
        return dict(self.answer.json()["error"])

    def ready_worker(self) -> dict[str, Any]:
        def one() -> dict[str, Any] | None:
            return next(iter(self.home.workers("READY", "BUSY")), None)

        return eventually(one, within_s=30)  # type: ignore[return-value]
