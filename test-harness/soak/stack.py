"""The rbee under test: its home, who lives in it, and the answers that nothing interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

import plain_http
from eventually import eventually
from soak.ledger import Gone, Ledger
from soak.questions import QUESTIONS, Question, asked
from told import Told
from world import Home

REPLICAS = 2
CTX = 512
CALM_S = 120


class Stack:
    """One rbee with two workers, and what all its clients share."""

    def __init__(self, home: Home, disk: Path | None) -> None:
        self.home = home
        self.disk = disk
        """Where the jobs are kept, if it is small enough to be filled."""
        self.ledger = Ledger()
        self.over = threading.Event()
        """Nothing new is asked, and nothing new breaks."""
        self.known: dict[Question, Told] = {}
        port = int(home.env["RBEE_PORT"])
        self.url = f"http://127.0.0.1:{port}"

    def configure(self, ctx: int = CTX, queue: int = 100, more: str = "") -> None:
        """Write the TOML, as an editor does: whole."""
        text = (
            f"[limits]\nqueue = {queue}\n"
            f'[models.tiny]\nkeep_alive = "always"\nreplicas = {REPLICAS}\nctx = {ctx}\n{more}'
        )
        path = self.home.path / "rbee.toml"
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)

    def begin(self) -> None:
        """Serve, and hear every answer once while nothing disturbs it. What embeds is loaded
        too, so that descriptors at the end can be compared with those now."""
        self.configure()
        outcome = self.home.keeper("models", "pull", str(self.home.file()))
        assert outcome.code == 0, str(outcome)
        self.calm()
        for question in QUESTIONS:
            self.known[question] = self.hear(question)
            assert self.known[question].over and not self.known[question].error
        sent = {"model": "tiny", "input": "a"}
        assert (
            plain_http.post(self.url + "/v1/embeddings", json=sent, timeout=60).status_code == 200
        )

    def hear(self, question: Question, headers: dict[str, str] | None = None) -> Told:
        """A streamed answer to its end."""
        told, began = Told(), time.monotonic()
        with plain_http.stream(
            "POST", self.url + question.path, json=asked(question), headers=headers, timeout=120
        ) as answer:
            if answer.status_code != 200:
                answer.read()
                told.error = answer.json()["error"]
                told.rbee = {"status": answer.status_code}
                return told
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    told.take(line[6:], time.monotonic() - began)
        return told

    def processes(self, room: str) -> list[psutil.Process]:
        """Those of `rbee.queen`, `rbee.hive` or `rbee.worker` that run now."""
        found = []
        for one in self.home.processes():
            try:
                if room in one.cmdline():
                    found.append(one)
            except psutil.Error:
                continue
        return found

    def up(self) -> None:
        outcome = self.home.keeper("up", "--detach", within_s=180)
        if outcome.code:
            self.ledger.bad("mistakes", f"up failed: {outcome}")

    @contextmanager
    def without_queen(self, *, killed: bool) -> Iterator[None]:
        """Whatever is asked meanwhile may find nobody."""
        began = time.monotonic()
        now = Gone(began, float("inf"), killed)
        self.ledger.gone.append(now)
        try:
            yield
        finally:
            self.ledger.gone[self.ledger.gone.index(now)] = Gone(began, time.monotonic(), killed)

    def calm(self) -> None:
        """Everything that is wished serves, and nobody has anything to do."""

        def still() -> bool:
            shown = self.home.ps()
            chats = [one for one in shown["workers"] if one["mode"] == "chat"]
            ready = [one for one in chats if one["state"] == "READY" and not one["busy"]]
            waiting = sum(one["waiting"] for one in shown["queues"].values())
            assert len(ready) == REPLICAS and not waiting, shown
            return True

        eventually(lambda: self._answers(still), CALM_S)

    def _answers(self, still: Any) -> bool:
        try:
            return bool(still())
        except httpx.HTTPError:
            return False

    def sizes(self) -> str:
        """Descriptors and memory of queen and hive."""
        return " · ".join(
            f"{room} {one.num_fds()} descriptors, {one.memory_info().rss >> 20} MiB"
            for room in ("queen", "hive")
            for one in self.processes(f"rbee.{room}")
        )

    def orphans(self) -> list[str]:
        """Processes of workers that no worker of the list explains."""
        known = {one["pid"] for one in self.home.workers()}
        known |= {parent for pid in known for parent in _parents(pid)}
        return [str(one) for one in self.processes("rbee.worker") if one.pid not in known]


def _parents(pid: int) -> list[int]:
    try:
        return [one.pid for one in psutil.Process(pid).parents()]
    except psutil.NoSuchProcess:
        return []


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def stack(model: Path) -> Iterator[Stack]:
    """A home of its own; its state on a small disk, where this user may mount one."""
    home = Home(
        model,
        RBEE_PORT=str(free_port()),
        RBEE_DRAIN_S="3",
        RBEE_JOBS="2000",
        RBEE_DEFAULTS_CTX=str(CTX),
    )
    disk = home.path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    mounted = (
        os.geteuid() == 0 and not subprocess.run(mount, check=False, capture_output=True).returncode
    )
    if mounted:
        (home.path / "state").symlink_to(disk)
    one = Stack(home, disk if mounted else None)
    try:
        yield one
    finally:
        for process in home.processes():
            process.send_signal(signal.SIGKILL)
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], check=False)
        if one.ledger.clean:
            shutil.rmtree(home.path, ignore_errors=True)
