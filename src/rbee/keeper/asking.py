"""What `infer` and `chat` share: rbee is started, the model fetched, the answer streamed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rbee.errors import RbeeError
from rbee.keeper.answer import Answering, Question, Summary
from rbee.keeper.connection import Connection
from rbee.keeper.fetching import described, fetch, full_name, is_path
from rbee.keeper.render import Screen, put, safe

if TYPE_CHECKING:
    from rbee.settings import Settings


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
        shown = {"step": "", "words": ""}

        def news(facts: Mapping[str, Any]) -> None:
            shown["step"], shown["words"] = news_words(question.model, facts)
            self.screen.fact({"news": dict(facts)})
            tick()

        def tick() -> None:
            if shown["step"]:
                self.screen.live(shown["step"], shown["words"])

        def text(piece: str) -> None:
            shown["step"] = ""
            self.screen.clear()
            self._print(piece)

        answering = Answering(self.connection, question, on_text=text, on_news=news, on_tick=tick)
        try:
            return answering.run()
        except RbeeError as error:
            self._keep(answering.text, error)
            raise
        finally:
            self.screen.clear()
            if answering.text and not answering.text.endswith("\n") and not self._json:
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

    def _keep(self, text: str, error: RbeeError) -> None:
        """An answer that broke off is kept, and the place told."""
        if not text or error.code in ("DEADLINE_EXCEEDED", "CANCELLED"):
            return
        folder = self.connection.home.root / "partials"
        path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            self.screen.clear()
            if not self._json:
                self._print("\n")
            self.screen.mark("other", f"what came of the answer is kept in {path}")

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
