"""A real llama-server that somebody else runs: started, killed, frozen and started anew."""

from __future__ import annotations

import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from eventually import eventually

_LOADS_WITHIN_S = 30.0


class LlamaServer:
    """One server on a port that stays its own."""

    def __init__(self, binary: str, model: Path, log: Path, *, name: str) -> None:
        self._log = log
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._argv = [binary, "-m", str(model), "-a", name, "-c", "4096", "-np", "4", "-t", "1"]
        self._argv += ["--jinja", "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = self._begun()

    def again(self) -> None:
        """On the same port; returns once it serves."""
        self.end()
        self.process = self._begun()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.kill()

    def _begun(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        eventually(self._serves, within_s=_LOADS_WITHIN_S)
        return process

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as said:
                return bool(said.status == 200)
        except (urllib.error.URLError, OSError):
            return False
