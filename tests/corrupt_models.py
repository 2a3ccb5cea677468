"""Which guard finds which damage in a file that nobody vouches for.

`python -m tests.corrupt_models` tries every case of `damaged_gguf` on the real model and writes
`corrupt_models.toml`; docs/corrupt-models.md is made from that. With a digest there is no table:
every case is another digest.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rbee.errors import RbeeError
from rbee.models.gguf import read_facts
from rbee.wire import lifeline
from tests.damaged_gguf import DAMAGES
from tests.model_file import model_path
from tests.worker_run import worker_run

RECORD = Path(__file__).with_suffix(".toml")

STRUCTURE = "structure"
"""Refused when it is imported: `models.gguf`."""
ENGINE = "engine"
"""The engine refuses to load it."""
SELFTEST = "selftest"
"""It loads, and its self-test says that it computes rubbish."""
NOTHING = "nothing"
"""It loads and answers; from its import on its own digest guards it."""


def by_structure(path: Path) -> str:
    """The guard that needs no engine, or none."""
    try:
        read_facts(path, model="m")
    except RbeeError as error:
        assert error.code == "MODEL_CORRUPTED", error
        return STRUCTURE
    return ""


def by_loading(path: Path, folder: Path) -> str:
    """The guard that a real worker is, with its self-test."""
    folder.mkdir()
    with worker_run(folder, path) as run:
        said = run.hive.wait_for_one_of(lifeline.Listening, lifeline.LoadFailed)
    if isinstance(said, lifeline.LoadFailed):
        return ENGINE
    assert said.selftest is not None
    return SELFTEST if said.selftest.answer.flaw else NOTHING


def record() -> str:
    data = model_path().read_bytes()
    lines = ["# Written by `python -m tests.corrupt_models`: case = guard."]
    with tempfile.TemporaryDirectory() as name:
        for case, damage in DAMAGES.items():
            path = Path(name) / "m.gguf"
            path.write_bytes(damage(data))
            lines.append(f'{case} = "{by_structure(path) or by_loading(path, Path(name) / case)}"')
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    RECORD.write_text(record())
