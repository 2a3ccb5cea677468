"""The settings of a process that runs: a changed rbee.toml holds from the next look on."""

from __future__ import annotations

from dataclasses import replace

from rbee.edge.config_file import load_settings
from rbee.edge.home import Home
from rbee.settings import Settings


class ConfigWatch:
    """Owner of what holds now."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._stamp = self._seen()
        self.now = settings

    def look(self) -> bool:
        """Read the file if it was touched; whether anything in it is another. Raises CONFIG_INVALID
        once, and what held before holds on. Addresses and the folder of the models are in use and
        stay as they were at the start."""
        seen = self._seen()
        if seen == self._stamp:
            return False
        self._stamp = seen
        before, fresh = self.now, load_settings(self._home)
        self.now = replace(fresh, host=before.host, port=before.port, models_dir=before.models_dir)
        return self.now != before

    def _seen(self) -> object:
        try:
            found = self._home.config.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns)
