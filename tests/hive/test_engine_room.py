"""Promises about knowing the engine, with the real one and with programs that are none."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rbee.edge.home import Home
from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.hive.engine_room import EngineRoom
from rbee.settings import Settings


def _room(tmp_path: Path, changes: list[str] | None = None, engine_path: str = "") -> EngineRoom:
    home = Home(tmp_path)
    home.prepare()
    settings = Settings(home=str(tmp_path), engine_path=engine_path)
    told = changes if changes is not None else []
    return EngineRoom(home, lambda: settings, Log("test", "error"), lambda: told.append("changed"))


def test_the_built_in_engine_is_known_after_one_question(tmp_path: Path) -> None:
    """The engine says its build and devices once; the next hive reads it from the file."""
    changes: list[str] = []
    room = _room(tmp_path, changes)
    assert not room.known
    assert room.require().kind == "llama-cpp"
    asyncio.run(room.ask())
    assert room.known and changes == ["changed"]
    assert room.engine.build
    assert "cpu" in [device.id for device in room.devices]
    again = _room(tmp_path)
    assert again.known and again.engine == room.engine and again.devices == room.devices


def test_a_missing_binary_is_refused(tmp_path: Path) -> None:
    """A chosen llama-server that is not there cannot be loaded, and becoming one is seen."""
    binary = tmp_path / "llama-server"
    room = _room(tmp_path, engine_path=str(binary))
    with pytest.raises(RbeeError) as caught:
        room.require()
    assert caught.value.code == "ENGINE_MISSING"
    before = room.fingerprint()
    binary.write_text("#!/bin/sh\nexit 0\n")
    assert room.look() and room.fingerprint() != before
    with pytest.raises(RbeeError, match="may not be run"):
        room.require()
    binary.chmod(0o755)
    assert room.require().kind == "llama-server"


def test_choosing_an_engine_is_seen(tmp_path: Path) -> None:
    """`rbee engine use PATH` writes a file; the hive sees it without being told."""
    room = _room(tmp_path)
    assert not room.look()
    (tmp_path / "state" / "engine_path").write_text("/nowhere/llama-server\n")
    assert room.look()
    assert (room.engine.kind, room.engine.path) == ("llama-server", "/nowhere/llama-server")
    (tmp_path / "state" / "engine_path").unlink()
    assert room.look()
    assert room.engine.kind == "llama-cpp"


def test_a_broken_cache_is_asked_anew(tmp_path: Path) -> None:
    """A file that cannot be read is no knowledge."""
    _room(tmp_path)
    (tmp_path / "state" / "engine.json").write_bytes(b"{")
    assert not _room(tmp_path).known


def test_an_engine_that_is_late_once_is_still_an_engine(tmp_path: Path) -> None:
    """Asked again for its devices, it says nothing that can be read: what it said before holds."""
    binary = tmp_path / "llama-server"
    binary.write_text("#!/bin/sh\necho 'version: 1 (0)'\n")
    binary.chmod(0o755)
    room = _room(tmp_path, engine_path=str(binary))
    asyncio.run(room.ask())
    before = binary.stat()
    with binary.open("r+") as program:
        program.write("#!/bin/sh\nexit 7         \n")
    os.utime(binary, ns=(before.st_atime_ns, before.st_mtime_ns))
    asyncio.run(room.ask(again=True))
    assert room.require().build == "1 (0)"
