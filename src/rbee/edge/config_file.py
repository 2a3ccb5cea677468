"""Reads the configuration from its places: RBEE_HOME/rbee.toml, the environment, flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from rbee.edge.home import Home
from rbee.edge.private_file import read_small
from rbee.errors import RbeeError
from rbee.settings import Settings
from rbee.wire.config import FILE, Config, read_config

_NO_FLAGS: Mapping[str, str] = MappingProxyType({})


def chosen_engine_file(home: Home) -> Path:
    """Where `rbee engine use` keeps its choice: one line, a path."""
    return home.state / "engine_path"


def load_settings(home: Home, flags: Mapping[str, str] = _NO_FLAGS) -> Settings:
    """What queen, hive and keeper run by. Raises CONFIG_INVALID."""
    return load_config(home, flags).settings


def load_config(home: Home, flags: Mapping[str, str] = _NO_FLAGS) -> Config:
    """The same with the origin of each value. Raises CONFIG_INVALID."""
    config = read_config(
        home=str(home.root),
        text=_text(home.config, FILE),
        environment=os.environ,
        flags=flags,
        chosen_engine=_text(chosen_engine_file(home), "rbee engine use").strip(),
    )
    settings = config.settings
    return replace(
        config,
        settings=replace(
            settings,
            models_dir=_absolute(settings.models_dir, home),
            engine_path=_absolute(settings.engine_path, home),
        ),
    )


def _absolute(path: str, home: Home) -> str:
    """Paths in the file are relative to its folder; `~` is the person's."""
    return str(home.root / Path(path).expanduser()) if path else ""


def _text(path: Path, where: str) -> str:
    try:
        content = read_small(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as exc:
        problem = f"it cannot be read: {exc.strerror}"
        raise RbeeError("CONFIG_INVALID", where=where, problem=problem) from exc
    try:
        # Some editors begin a file with a mark of its encoding.
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as exc:
        problem = f"it is not UTF-8 text (byte {exc.start})"
        raise RbeeError("CONFIG_INVALID", where=where, problem=problem) from exc
