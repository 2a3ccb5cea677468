"""A wall clock of one home's processes that can be set; their monotonic clock is left alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path


def can_be_made() -> bool:
    """Whether there is a compiler: the clock is a few lines of C, loaded before the C library."""
    return shutil.which("cc") is not None


class Clock:
    """Right at first; `jump` moves it for every process that has this environment."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._library = folder / "clock.so"
        self.jump(0)
        source = Path(__file__).with_suffix(".c")
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)]
        subprocess.run(command, check=True, timeout=60)

    def put_into(self, env: MutableMapping[str, str]) -> None:
        env["LD_PRELOAD"] = str(self._library)
        env["WALL_CLOCK_FILE"] = str(self._file)

    def jump(self, by_s: int) -> None:
        self._file.write_text(f"{by_s}\n")

    def ahead_s(self) -> float:
        """How far it is before ours, as a process reads it that has it."""
        env: dict[str, str] = {}
        self.put_into(env)
        command = [sys.executable, "-c", "import time; print(time.time())"]
        said = subprocess.run(command, env=env, capture_output=True, check=True, timeout=20)
        return float(said.stdout) - time.time()
