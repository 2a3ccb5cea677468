"""One file on loopback, out of a process of its own: `python -m bench.file_server PATH`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def serving_file(path: Path) -> Iterator[str]:
    """Its address, for as long as it is wanted."""
    words = [sys.executable, "-m", "bench.file_server", str(path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def main() -> None:
    sys.path.insert(0, str(ROOT / "test-harness" / "bdd"))
    from faults.registry import File, Registry

    server = Registry()
    path = Path(sys.argv[1])
    server.files[f"/{path.name}"] = File(path, '"v1"')
    print(f"{server.url}/{path.name}", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
