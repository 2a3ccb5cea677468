"""Virtual environments of the client SDKs, each its own: they do not agree on their dependencies.

`python -m tests.clients.environments` makes all of them; a test makes the one that it needs. They
live in the cache, under a name that changes with what they hold.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

CLIENTS = {
    "openai": ["openai==3.54.0"],
    "openai-2": ["openai==2.54.0"],
    "anthropic": ["anthropic==2.12.0"],
    "litellm": ["litellm==1.106.2"],
    "langchain": ["langchain-openai>=1.3,<2", "openai==3.54.0"],
    "llm": ["llm==0.36", "openai==3.54.0"],
    "schemathesis": ["schemathesis==4.32.5"],
}
"""What each environment holds. openai twice: LiteLLM and others still pin the older line.
schemathesis is a client too: one that asks whatever /openapi.json allows, and what it does not."""

_LIMIT_S = 600


def client_python(name: str) -> Path:
    """The Python that has this client; made on the first call on a machine (seconds)."""
    folder = _folder(name)
    ready = folder / ".ready"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.exists():
                _make(folder, CLIENTS[name])
                ready.touch()
    return folder / "bin" / "python"


def _folder(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    held = f"{sys.version_info[:2]} {CLIENTS[name]}"
    digest = hashlib.sha256(held.encode()).hexdigest()[:8]
    return cache / "rbee-test" / "clients" / f"{name}-{digest}"


def _make(folder: Path, wanted: list[str]) -> None:
    python = str(folder / "bin" / "python")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted],
    ):
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_LIMIT_S
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    for client in CLIENTS:
        print(f"{client}: {client_python(client)}")
