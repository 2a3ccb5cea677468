"""Stacks for the client SDKs, and talks: programs that run in an SDK's own environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import client_python
from tests.model_file import own_copy
from world import Home

TALKS = Path(__file__).parent / "talks"
LIMIT_S = 90
STREAMS = ("openai", "openai-2", "anthropic", "litellm", "langchain", "llm")
"""Clients that stream."""

HELD = {
    "openai": "chat,stream,models,alias,embed,shaped,completions,responses,responses,errors",
    "openai-2": "chat,stream,errors",
    "anthropic": "chat,chat,stream,count,errors",
    "litellm": "chat,stream,embed,errors",
    "langchain": "chat,stream,embed,errors",
    "llm": "chat,stream,errors",
}
"""The talks of each client with an rbee that nothing happens to."""

CONFIGURATION = """
[models.tiny]
source = "{file}"
aliases = ["gpt-4o-mini"]
params = {{ temperature = 0.0 }}
"""


@dataclass
class Talk:
    """A program that speaks to rbee through an SDK."""

    process: subprocess.Popen[str]

    def next(self) -> dict[str, Any]:
        """What it told next."""
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return dict(json.loads(line))

    def rest(self) -> list[dict[str, Any]]:
        """All that it told until its end."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        assert self.process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]


def begin(client: str, names: str, url: str, key: str = "any") -> Talk:
    """Start talks of `talks/<client>_talk.py`, one after another; `openai-2` talks as `openai`."""
    script = TALKS / f"{client.split('-')[0]}_talk.py"
    process = subprocess.Popen(
        [client_python(client), script, names, url],
        env={
            "PATH": "/usr/bin:/bin",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HOME": str(TALKS),
            "TALK_KEY": key,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Talk(process)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's file, a copy of this process."""
    return own_copy(tmp_path_factory.mktemp("model"))


def serve(model: Path, *flags: str, **variables: str) -> Home:
    """An rbee of its own that serves `tiny`, also known as gpt-4o-mini."""
    home = Home(model, **variables)
    told = CONFIGURATION.format(file=home.file())
    (home.path / "rbee.toml").write_text(told)
    for words in (("models", "pull", str(home.file())), ("serve", "tiny", "--wait", *flags)):
        outcome = home.keeper(*words)
        assert outcome.code == 0, str(outcome)
    return home


@pytest.fixture(scope="session")
def home(model: Path) -> Iterator[Home]:
    """One rbee for all talks that leave it as it was."""
    found = serve(model)
    yield found
    found.end()


@pytest.fixture(scope="session")
def heard(home: Home) -> Callable[[str, str], list[dict[str, Any]]]:
    """What a client told in one of its talks; a client's talks are held once, in one process."""
    told: dict[str, list[dict[str, Any]]] = {}

    def hear(client: str, name: str) -> list[dict[str, Any]]:
        if client not in told:
            told[client] = begin(client, HELD[client], home.url).rest()
        return [one for one in told[client] if one["talk"] == name]

    return hear


@pytest.fixture
def own_home(model: Path) -> Iterator[Callable[..., Home]]:
    """Makes an rbee with settings of its own; told and ended with the test."""
    made: list[Home] = []

    def make(*flags: str, **variables: str) -> Home:
        made.append(serve(model, *flags, **variables))
        return made[-1]

    yield make
    for found in made:
        print(found.story())
        found.end()
