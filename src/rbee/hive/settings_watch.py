"""The hive's settings while it runs: a changed rbee.toml holds from the next look on."""

from __future__ import annotations

from dataclasses import replace

from rbee.edge.config_file import load_settings
from rbee.edge.home import Home
from rbee.edge.logs import Log
from rbee.errors import RbeeError
from rbee.settings import Settings


class SettingsWatch:
    """Owner of what the hive goes by now."""

    def __init__(self, home: Home, settings: Settings, log: Log) -> None:
        self._home = home
        self._log = log
        self._stamp = stamp(home)
        self.now = settings

    def look(self) -> bool:
        """Read the file if it has changed; one that cannot be read changes nothing. The folder of
        the models stays: workers are using it."""
        seen = stamp(self._home)
        if seen == self._stamp:
            return False
        self._stamp = seen
        try:
            fresh = load_settings(self._home)
        except RbeeError as error:
            self._log.warning("rbee.toml is not used", problem=str(error))
            return False
        self.now = replace(fresh, models_dir=self.now.models_dir)
        return True


def stamp(home: Home) -> object:
    """Changes when the file does."""
    try:
        found = home.config.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
