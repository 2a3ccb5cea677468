"""What the benchmark runs: two C programs compiled on demand, and the other gateways if they can
be had. Everything is kept in the cache folder of the benchmark."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rbee-bench"
_HERE = Path(__file__).parent


def compiled(name: str) -> Path:
    """`engine` or `load`, compiled from the source beside this file if it is not yet."""
    source = _HERE / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = CACHE / f"{name}-{digest}"
    if not program.exists():
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise SystemExit("a C compiler is needed: apt-get install gcc")
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = program.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-O2", "-o", str(fresh), str(source)], check=True)
        fresh.replace(program)
    return program


def nginx() -> str | None:
    """The nginx of this machine: `apt-get install nginx-light` brings one."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def installed(environment: str, *packages: str, program: str) -> Path | None:
    """A program of a package, in an environment of its own that is made once; None: it cannot be
    had, which is remembered for this run alone."""
    folder = CACHE / environment
    path = folder / "bin" / program
    if not path.exists():
        print(f"… {environment} is fetched once", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *packages]
        done = subprocess.run(pip, check=False, capture_output=True, text=True)
        if done.returncode or not path.exists():
            print(f"… {environment} cannot be had: {done.stderr[-300:]}", file=sys.stderr)
            return None
    return path
