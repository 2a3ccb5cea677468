"""`rbee chat`: talk with a model. Ctrl-C cancels an answer, Ctrl-D or /bye ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rbee.errors import RbeeError
from rbee.keeper.answer import Question
from rbee.keeper.asking import Asker
from rbee.keeper.commands.infer import DEFAULT_MODEL
from rbee.keeper.connection import Connection
from rbee.keeper.failure import show
from rbee.keeper.parsing import Parser, count_flag, temperature_flag
from rbee.keeper.render import Screen

_HISTORY_LINES = 1000
_HELP = "/bye ends, /clear forgets what was said, Ctrl-C cancels an answer"


def run(command: str, arguments: Sequence[str]) -> int:
    """One line in, one answer out, until the end of the input."""
    parser = Parser("chat", "Talk with a model. /bye or Ctrl-D ends, Ctrl-C cancels an answer.")
    parser.add_argument("-m", "--model", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    parser.add_argument("--system", default="", help="what the model is told first")
    parser.add_argument("--max-tokens", type=count_flag, metavar="N")
    parser.add_argument("--temperature", type=temperature_flag, metavar="T")
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    asker = Asker(Connection.of(asked.url), screen, json=asked.json)
    asker.meet()
    model = asker.name_of(asked.model)
    first = [{"role": "system", "content": asked.system}] if asked.system else []
    question = Question(model, list(first), asked.max_tokens, asked.temperature)
    history = _remember(asker.connection.home.state / "chat_history")
    if sys.stdin.isatty():
        screen.line(f"  {model}: {_HELP}")
    try:
        return _talk(asker, screen, question, first)
    finally:
        _write(history)


def _talk(asker: Asker, screen: Screen, question: Question, first: list[dict[str, str]]) -> int:
    said = list(first)
    code = 0
    while True:
        line = _line()
        if line is None or line.strip() == "/bye":
            return code
        if not line.strip():
            continue
        if line.strip() == "/clear":
            said = list(first)
            continue
        if line.strip() in ("/help", "/?"):
            screen.line(f"  {_HELP}")
            continue
        said.append({"role": "user", "content": line})
        question.messages = said
        try:
            said.append({"role": "assistant", "content": asker.ask(question).text})
            code = 0
        except KeyboardInterrupt:
            said.pop()
            screen.line("  cancelled")
        except RbeeError as error:
            said.pop()
            code = show(error, screen)


def _line() -> str | None:
    """The next line, or None at the end; Ctrl-C empties the line."""
    while True:
        try:
            return input("> " if sys.stdin.isatty() else "")
        except EOFError:
            if sys.stdin.isatty():
                sys.stderr.write("\n")
            return None
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            if not sys.stdin.isatty():
                raise


def _remember(path: Path) -> Path | None:
    """Load the history of earlier talks into the line editor, where there is one."""
    if not sys.stdin.isatty():
        return None
    try:
        import readline
    except ImportError:
        return None
    readline.set_history_length(_HISTORY_LINES)
    with suppress(OSError):
        readline.read_history_file(path)
    return path


def _write(history: Path | None) -> None:
    if history is None:
        return
    import readline

    with suppress(OSError):
        os.close(os.open(history, os.O_WRONLY | os.O_CREAT, 0o600))
        readline.write_history_file(history)
