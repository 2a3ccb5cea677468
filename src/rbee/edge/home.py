"""Where things lie under RBEE_HOME. Folders are 0700: keys, prompts and sockets live here."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path


def default_home() -> Path:
    """RBEE_HOME, else the platform's data folder (XDG on Linux, Library on macOS)."""
    if chosen := os.environ.get("RBEE_HOME"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "rbee"
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "rbee"


@dataclass(frozen=True, slots=True)
class Home:
    """The map of RBEE_HOME."""

    root: Path

    @property
    def config(self) -> Path:
        """The person's TOML."""
        return self.root / "rbee.toml"

    @property
    def run(self) -> Path:
        """What lives only while processes live: sockets, pid files, locks."""
        return self.root / "run"

    @property
    def admin_socket(self) -> Path:
        """The queen's HTTP, admin routes included, for this user only (0600)."""
        return self.run / "admin.sock"

    @property
    def control_socket(self) -> Path:
        """Where hives dial the queen (0600)."""
        return self.run / "control.sock"

    @property
    def queen_file(self) -> Path:
        """JSON: pid, start time, version, url of the running queen."""
        return self.run / "queen.json"

    @property
    def hive_file(self) -> Path:
        """JSON: pid, start time, version of the running hive."""
        return self.run / "hive.json"

    @property
    def workers(self) -> Path:
        """A folder per worker: spec.json (0600), lifeline socket, log."""
        return self.run / "workers"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """What survives: wishes, events, chosen engine."""
        return self.root / "state"

    @property
    def keys_file(self) -> Path:
        """Hashes, names and limits of keys (0600)."""
        return self.state / "keys.json"

    @property
    def restore_pending(self) -> Path:
        """There while a backup is put back, and after a kill in the middle of that (0600)."""
        return self.state / "restore.pending"

    @property
    def models(self) -> Path:
        return self.root / "models"

    def prepare(self) -> None:
        """Make the folders, for this user only."""
        for folder in (self.root, self.run, self.workers, self.logs, self.state, self.models):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
