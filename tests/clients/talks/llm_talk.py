"""What simonw's `llm` does: its own command line, told of us by its own configuration file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from telling import main, tell

COUNT = "Count from one to one hundred."
STORY = "Write a very long story about a bee."
MODELS = """
- model_id: {name}
  model_name: {name}
  api_base: "{url}/v1"
"""


@contextmanager
def configured(url: str) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(MODELS.format(name=name, url=url) for name in ("tiny", "tinny"))
        (Path(folder) / "extra-openai-models.yaml").write_text(text)
        yield {**os.environ, "LLM_USER_PATH": folder}


def command(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("llm")), *words]


def chat(url: str) -> None:
    run(url, "-m", "tiny", "--no-stream", "-o", "max_tokens", "8", COUNT)


def stream(url: str) -> None:
    run(url, "-m", "tiny", "-o", "max_tokens", "8", COUNT)


def errors(url: str) -> None:
    run(url, "-m", "tinny", COUNT)
    run(url, "-m", "tiny", "word " * 2000)


def run(url: str, *words: str) -> None:
    with configured(url) as env:
        done = subprocess.run(command(*words), env=env, capture_output=True, text=True, check=False)
    tell(exit=done.returncode, text=done.stdout.strip(), says=done.stderr)


def long(url: str) -> None:
    with (
        configured(url) as env,
        subprocess.Popen(
            command("-m", "tiny", "-o", "max_tokens", "400", STORY),
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None and process.stderr is not None
        while part := process.stdout.read1(4096):
            tell(part=part.decode("utf-8", "replace"), finish=None)
        says = process.stderr.read().decode()
        tell(exit=process.wait(), says=says, part=None, finish=None)


if __name__ == "__main__":
    main(globals())
