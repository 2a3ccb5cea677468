"""A client that asks whatever /openapi.json allows, and what it does not (schemathesis)."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import TALKS, serve
from tests.clients.environments import client_python
from world import Home

INPUTS = int(os.environ.get("RBEE_FUZZ_INPUTS", "10000"))
SEED = os.environ.get("RBEE_FUZZ_SEED", str(random.SystemRandom().randrange(1 << 30)))
CHECKS = (
    "coded",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
)
NOT_ASKED = "^/rbee/(models/import|models/pull|workers/attach|shutdown|events)"
"""What would reach out of this machine, read its folders, end the talk or never end."""


@pytest.fixture
def told(model: Path) -> Iterator[Home]:
    """One that answers briefly, so that many questions fit into a short time; with a key."""
    found = serve(model, RBEE_DEFAULTS_CTX="128", RBEE_LIMITS_TOTAL="5s")
    made = found.keeper("keys", "create", "--role", "admin", "--json")
    found.key = json.loads(made.out)["key"]
    yield found
    print(found.story())
    found.end()


def test_every_answer_is_as_it_is_described(told: Home, tmp_path: Path) -> None:
    """Status, type, shape and the Allow of a 405; each error has its code, none is a mistake of
    ours; nothing hangs, and rbee is as well afterwards as it was.

    Random questions for 10 s; in `make fuzz` first what stands at the edge of each shape.
    """
    seconds = max(10, INPUTS // 1000)
    command = [
        str(client_python("schemathesis").with_name("schemathesis")),
        *("--no-color", "run", f"{told.url}/openapi.json", "--checks", ",".join(CHECKS)),
        *("--phases", "coverage,fuzzing" if INPUTS > 50_000 else "fuzzing"),
        *("--max-examples", "2", "--max-time", str(seconds), "--seed", SEED, "--no-shrink"),
        *("--request-timeout", "20", "--generation-database", "none", "--warnings", "off"),
        *("--exclude-path-regex", NOT_ASKED, "--header", f"Authorization: Bearer {told.key}"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(TALKS),
            "SCHEMATHESIS_HOOKS": "openapi_checks",
        },
        capture_output=True,
        text=True,
        timeout=seconds + 90,
        check=False,
    )

    assert done.returncode == 0, f"seed {SEED}\n{done.stdout}\n{done.stderr}"
    assert " passed" in done.stdout
    assert told.chat(max_tokens=2).status_code == 200
