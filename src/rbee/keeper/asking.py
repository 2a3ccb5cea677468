"""What `infer`, `chat` and `jobs attach` share: rbee is started, the model fetched, the answer read
to its end, what breaks off kept."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbee.edge.home import Home
from rbee.edge.private_file import write_private
from rbee.errors import RbeeError
from rbee.keeper.answer import Answering, Question, Reading, Summary
from rbee.keeper.connection import Connection
from rbee.keeper.fetching import described, fetch, full_name, is_path
from rbee.keeper.render import Screen, put, safe
from rbee.policy.retry import TRIES

if TYPE_CHECKING:
    from rbee.settings import Settings

_AGAIN_S = 0.5
"""Before rbee, which answers again, is asked once more for what it just broke off."""
_MOST_PARTIALS = 100


class Asker:
    """Asks one rbee again and again."""

    def __init__(self, connection: Connection, screen: Screen, *, json: bool) -> None:
        self.connection = connection
        connection.screen = screen
        self.screen = screen
        self._json = json
        self._terminal = sys.stdout.isatty()
        self.url = connection.shown
        self._devices: list[Mapping[str, Any]] = []
        self.started = False
        """This call started rbee."""
        self.key_needed = False

    def meet(self, within_s: float | None = None) -> None:
        """Start rbee if it is ours and down. Raises what `ensure_up` raises; for a distant one what
        `Connection` raises, and DEADLINE_EXCEEDED if it is not reached in time."""
        if not self.connection.local:
            self._reach(within_s)
            return
        try:
            status = self.connection.get("/rbee/status")
        except RbeeError as error:
            if error.code not in ("NOT_RUNNING", "CONNECTION_LOST", "SHUTTING_DOWN"):
                raise
            status = None
        if status is None or not status["ready"]:
            from rbee.keeper.starting import ensure_up

            self.started = status is None
            status, _ = ensure_up(self.connection.home, self.screen, {}, first_run=True)
        self.connection.check_version(status)
        self.url = str(status["url"])
        self.key_needed = bool(status.get("key_needed"))
        self._tell_unusable(status)

    def name_of(self, model: str) -> str:
        """What rbee calls it; a file is made known to it first."""
        if not is_path(model) or not self.connection.local:
            return model
        return str(fetch(self.connection, model, self.screen)["name"])

    def serve(self, model: str, device: str, fallback: bool | None) -> None:
        """Have the model run on that device before it is asked; it unloads when idle as usual.

        Raises DEVICE_UNAVAILABLE before anything that runs is touched.
        """
        if any(
            (one["model"], one["device"]) == (model, device) and one["state"] in ("READY", "BUSY")
            for one in self.connection.get("/rbee/ps")["workers"]
        ):
            return
        usable = [str(one["id"]) for one in self._devices if one["usable"]]
        if usable and device not in (*usable, "auto") and not fallback:
            raise RbeeError("DEVICE_UNAVAILABLE", device=device, available=usable)
        body: dict[str, Any] = {"model": model, "device": device, "wait": True}
        body["keep_alive_s"] = self._keep_alive_s(model)
        if fallback is not None:
            body["fallback"] = fallback

        def again() -> None:
            self.screen.live("loading", f"{model}   loading on {device}")

        for _ in self.connection.lines("POST", "/rbee/serve", body, on_tick=again):
            again()

    def ask(self, question: Question) -> Summary:
        """Stream the answer; a model that rbee knows of but has not stored is fetched first."""
        try:
            return self._answer(question)
        except RbeeError as error:
            if error.code != "MODEL_NOT_FOUND" or not self.connection.local:
                raise
        begun_at = time.monotonic()
        view = fetch(self.connection, full_name(question.model), self.screen)
        self.screen.mark("done", described(view, time.monotonic() - begun_at))
        question.model = str(view["name"])
        return self._answer(question)

    def _answer(self, question: Question) -> Summary:
        def ask(reading: Reading, tick: Callable[[], None]) -> None:
            Answering(
                self.connection,
                question,
                reading,
                on_tick=tick,
                on_unkept=self._tell_unkept,
                bring_back=self.bring_back,
            ).run()

        return self.read(question.model, ask)

    def read(
        self, model: str, ask: Callable[[Reading, Callable[[], None]], None], *, job: str = ""
    ) -> Summary:
        """Print the answer that `ask` reads; what comes of one that breaks off is kept."""
        shown = {"step": "", "words": ""}

        def news(facts: Mapping[str, Any]) -> None:
            shown["step"], shown["words"] = news_words(model, facts)
            self.screen.fact({"news": dict(facts)})
            tick()

        def tick() -> None:
            if shown["step"]:
                self.screen.live(shown["step"], shown["words"])

        def text(piece: str) -> None:
            shown["step"] = ""
            self.screen.clear()
            self._print(piece)

        reading = Reading(model, on_text=text, on_news=news)
        reading.summary.job = job
        try:
            ask(reading, tick)
            return reading.summed()
        except RbeeError as error:
            self.keep(reading, error)
            raise
        finally:
            self.screen.clear()
            if reading.text and not reading.text.endswith("\n") and not self._json:
                with suppress(OSError):
                    self._print("\n")

    def _print(self, piece: str) -> None:
        if self._json:
            put({"text": piece})
            return
        sys.stdout.buffer.write(
            (safe(piece) if self._terminal else piece).encode("utf-8", "replace")
        )
        sys.stdout.buffer.flush()

    def bring_back(self, error: RbeeError, tries: int) -> None:
        """rbee is gone in mid-answer: start it again here; a distant one is dialled again. Raises
        the error when that was tried often enough."""
        if tries > TRIES:
            raise error
        self.screen.clear()
        if tries == 1:
            self.screen.mark("other", "rbee broke off in mid-answer; it is asked to go on")
        else:
            time.sleep(_AGAIN_S)
        self.screen.fact({"news": {"phase": "reattaching", "try": tries}})
        if self.connection.local:
            from rbee.keeper.starting import ensure_up

            status, _ = ensure_up(self.connection.home, self.screen, {})
            self.connection.check_version(status)

    def keep(self, reading: Reading, error: RbeeError) -> None:
        """An answer that broke off is kept, and the place told."""
        if not reading.text or error.code in ("DEADLINE_EXCEEDED", "CANCELLED"):
            return
        job = reading.summary.job
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = partial_path(self.connection.home, job or f"{stamp}-{os.getpid()}")
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, reading.text.encode("utf-8", "replace"))
            _prune(path.parent)
            self.screen.clear()
            if not self._json:
                self._print("\n")
            again = f": rbee jobs show {job}" if job else ""
            self.screen.mark("other", f"what came of the answer is kept in {path}{again}")
            self.screen.fact({"partial": str(path)})

    def _tell_unkept(self, error: RbeeError) -> None:
        told = f"this answer will not survive an end of rbee: {error.report.message}"
        self.screen.mark("other", told)

    def _reach(self, within_s: float | None) -> None:
        begun_at = time.monotonic()

        def check() -> None:
            if within_s is not None and time.monotonic() - begun_at > within_s:
                phase = "not even begun: rbee could not be reached"
                raise RbeeError("DEADLINE_EXCEEDED", deadline_s=within_s, phase=phase)

        self.connection.check_version(self.connection.get("/rbee/status", on_tick=check))

    def _tell_unusable(self, status: Mapping[str, Any]) -> None:
        self._devices = list(status.get("devices") or ())
        unusable = [one for one in self._devices if not one["usable"]]
        if not unusable or self._settings().engine_backend == "cpu":
            return
        for device in unusable:
            told = f"{device['name']} is here, but this engine cannot use it: running on cpu"
            self.screen.mark("other", told)
            if device["advice"]:
                self.screen.line(f"  {self.screen.marks.then} {device['advice']}")

    def _keep_alive_s(self, model: str) -> float:
        settings = self._settings()
        return settings.models.get(model, settings.defaults).keep_alive_s

    def _settings(self) -> Settings:
        from rbee.edge.config_file import load_settings

        return load_settings(self.connection.home)


def partial_path(home: Home, name: str) -> Path:
    """Where the part of an answer that broke off is kept."""
    return home.root / "partials" / f"{name}.txt"


def _prune(folder: Path) -> None:
    """Keep the newest only."""
    found = sorted(folder.glob("*.txt"), key=lambda one: one.stat().st_mtime, reverse=True)
    for path in found[_MOST_PARTIALS:]:
        path.unlink(missing_ok=True)


def news_words(model: str, facts: Mapping[str, Any]) -> tuple[str, str]:
    """A step and the words for it, from what rbee says while it works on a request."""
    phase = str(facts.get("phase", ""))
    share = facts.get("progress")
    percent = f" {float(share) * 100:.0f} %" if isinstance(share, int | float) and share else ""
    if phase == "queued":
        place = facts.get("position")
        where = f": place {place}" if place else ""
        return phase, f"queued for {model}{where}   (Ctrl-C leaves the queue)"
    if phase == "prefill":
        return phase, f"{model}   reading the prompt{percent}"
    if facts.get("waits_for"):
        return "memory", f"{model}   waits for the memory of {', '.join(facts['waits_for'])}"
    if phase == "replay":
        return phase, f"{model}   another worker takes the answer up"
    return phase or "wait", f"{model}   {phase or 'waiting'}{percent}"
