"""How fast a model comes, and what it takes: `rbee models pull` against `curl | sha256sum`."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from bench.file_server import ROOT, serving_file
from bench.stack import Stack

SIZE_BYTES = 2 << 30
NICENESS = "10"
_LOOK_EVERY_S = 0.05


class Fetch:
    """One large file on loopback, fetched in both ways; one rbee that runs all the while."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._url = ""
        self._digest = ""
        self.most_bytes = 0
        """Of memory that all processes of rbee held, over what they held before."""

    def by_curl(self) -> float:
        """MiB a second, to the last byte hashed. It gives way to others as rbee's child does, or a
        busy machine would compare priorities."""
        began = time.perf_counter()
        words = f"curl --silent --fail '{self._url}' | sha256sum"
        command = ["nice", "-n", NICENESS, "sh", "-c", words]
        said = subprocess.run(command, check=True, capture_output=True, text=True)
        took_s = time.perf_counter() - began
        self._digest = said.stdout.split()[0]
        return SIZE_BYTES / (1 << 20) / took_s

    def by_rbee(self) -> float:
        """MiB a second of the whole command, its start-up included."""
        done = threading.Event()
        before = held_bytes(self._stack)
        looking = threading.Thread(target=self._look, args=(before, done))
        looking.start()
        began = time.perf_counter()
        try:
            self._stack.rbee("models", "pull", f"{self._url}#sha256={self._digest}")
        finally:
            took_s = time.perf_counter() - began
            done.set()
            looking.join()
        self._stack.rbee("models", "rm", Path(self._url).stem)
        return SIZE_BYTES / (1 << 20) / took_s

    def _look(self, before: int, done: threading.Event) -> None:
        while not done.wait(_LOOK_EVERY_S):
            self.most_bytes = max(self.most_bytes, held_bytes(self._stack) - before)

    def run(self, rounds: int) -> tuple[list[float], list[float]]:
        """Both in turn, so many times: curl's rates, and rbee's."""
        file = made(self._stack.home / "large.gguf")
        rates: tuple[list[float], list[float]] = ([], [])
        with serving_file(file) as self._url:
            self.by_curl()
            for _ in range(rounds):
                rates[0].append(self.by_curl())
                rates[1].append(self.by_rbee())
        return rates


def held_bytes(stack: Stack) -> int:
    """Memory that only the processes of this rbee hold."""
    held = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get("RBEE_HOME") == str(stack.home):
                held += process.memory_full_info().uss
        except psutil.Error:
            continue
    return held


def made(target: Path) -> Path:
    """A valid model file, most of it a hole."""
    sys.path.insert(0, str(ROOT / "test-harness" / "bdd"))
    from faults.files import large, stamped

    return stamped(large(target, SIZE_BYTES), 1)
