"""Which engine this machine uses, what it is, and what it can use.

An engine is asked by running it (`python -m rbee.worker --describe`), which takes a second that the
first load should have: so what it said is kept under `state/`, with a stamp of the files that it
depends on, and a new engine is asked when the hive is quiet, or when a wish needs to know.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from rbee.edge.devices import all_devices
from rbee.edge.home import Home
from rbee.edge.logs import Log
from rbee.edge.private_file import read_small
from rbee.errors import RbeeError
from rbee.settings import Settings
from rbee.version import VERSION
from rbee.wire.control import Device, EngineView
from rbee.wire.unreadable import UNREADABLE

BUILT_IN = "llama-cpp"
BINARY = "llama-server"
_BUILT_IN_PACKAGE = "xllamacpp"

_CPU = (Device(id="cpu", name="CPU"),)
_DESCRIBE_WITHIN_S = 60.0
_DESCRIBE_BYTES = 1 << 20


class _Kept(msgspec.Struct, frozen=True):
    stamp: str
    engine: EngineView
    devices: tuple[Device, ...]


class EngineRoom:
    """Knows the chosen engine. `on_change` is called when more is known than was told before."""

    def __init__(
        self,
        home: Home,
        settings: Callable[[], Settings],
        log: Log,
        on_change: Callable[[], None],
    ) -> None:
        self._home = home
        self._settings = settings
        self._log = log
        self._on_change = on_change
        self._cache = home.state / "engine.json"
        self._asking: asyncio.Task[None] | None = None
        self._stamp = ""
        self.engine = EngineView(kind=BUILT_IN, build="", devices=_CPU)
        self.devices: tuple[Device, ...] = _CPU
        self.known = False
        """Whether the engine itself has said what stands here."""
        self.look()

    def look(self) -> bool:
        """See which engine is chosen now; whether it is another one than before."""
        path = self._chosen_path()
        stamp = _stamp(path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        kept = self._kept()
        self.known = kept is not None
        if kept is not None:
            self.engine, self.devices = kept.engine, kept.devices
        else:
            kind = BINARY if path else BUILT_IN
            self.engine = EngineView(kind=kind, build="", path=path, devices=_CPU)
            self.devices = _CPU
        return True

    def fingerprint(self) -> str:
        """Changes when another engine is chosen or its file changes."""
        return self._stamp

    def require(self) -> EngineView:
        """The engine, if it can be used. Raises ENGINE_MISSING."""
        path = self.engine.path
        if path and not os.access(path, os.X_OK):
            what = "may not be run" if os.path.exists(path) else "does not exist"
            raise RbeeError("ENGINE_MISSING", problem=f"the chosen llama-server {what}")
        if self.engine.problem:
            raise RbeeError("ENGINE_MISSING", problem=self.engine.problem)
        return self.engine

    async def ask(self, *, again: bool = False) -> None:
        """Have the engine describe itself, once for each choice (or `again`: devices come and go);
        cancelling a wait is harmless."""
        if self.known and not again:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(self._stamp))
        await asyncio.shield(self._asking)

    async def _ask(self, stamp: str) -> None:
        path = self.engine.path
        engine = await _describe(path)
        devices = await asyncio.to_thread(all_devices, engine.devices if engine else _CPU)
        if stamp != self._stamp or engine is None:
            return
        if engine.problem and self.known and not self.engine.problem:
            # The same file was an engine before: a machine under load made it late.
            self._log.warning("the engine was asked again in vain", problem=engine.problem)
            return
        self.engine, self.devices, self.known = engine, devices, True
        self._keep(_Kept(stamp, engine, devices))
        if engine.problem:
            self._log.warning("the engine cannot be used", problem=engine.problem)
        self._on_change()

    def _chosen_path(self) -> str:
        if chosen := self._settings().engine_path:
            return chosen
        try:
            return read_small(self._home.state / "engine_path").decode("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _kept(self) -> _Kept | None:
        try:
            kept = msgspec.json.decode(read_small(self._cache), type=_Kept)
        except (OSError, *UNREADABLE):
            return None
        # A problem is asked about anew: it may have been mended without a trace in the stamp.
        return kept if kept.stamp == self._stamp and not kept.engine.problem else None

    def _keep(self, kept: _Kept) -> None:
        fresh = self._cache.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(kept))
            os.replace(fresh, self._cache)
        except OSError as error:
            self._log.warning("the engine's description was not kept", problem=str(error))


def _stamp(path: str) -> str:
    """Which files an engine's description depends on, and which state of them."""
    spec = None if path else importlib.util.find_spec(_BUILT_IN_PACKAGE)
    file = path or (spec.origin if spec is not None and spec.origin else "")
    try:
        found = Path(file).stat()
    except OSError:
        return f"{VERSION}|{file}|absent"
    return f"{VERSION}|{file}|{found.st_ino}|{found.st_size}|{found.st_mtime_ns}"


async def _describe(path: str) -> EngineView | None:
    """What an engine says of itself; None if it did not say it: a load will show why."""
    command = [sys.executable, "-P", "-m", "rbee.worker", "--describe", *([path] if path else [])]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        limit=_DESCRIBE_BYTES,
    )
    try:
        async with asyncio.timeout(_DESCRIBE_WITHIN_S):
            said, _ = await process.communicate()
        return msgspec.json.decode(said, type=EngineView)
    except (TimeoutError, *UNREADABLE):
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
