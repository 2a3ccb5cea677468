"""`rbee`: finds the command, runs it, and turns whatever goes wrong into a screen and an exit code.

Help is printed before anything is imported; a command imports only its own file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rbee.keeper.help import COMMANDS, HELP

_HELP_WORDS = ("-h", "--help", "help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and raises nothing."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in _HELP_WORDS:
        return _print_help(given)
    if given[0] in ("-V", "--version"):
        given[0] = "version"
    try:
        return _run(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_is_gone()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except Exception as exc:
        from rbee.keeper.failure import show_exception

        return show_exception(exc, json="--json" in given)


def _print_help(given: list[str]) -> int:
    if len(given) == 2 and given[0] == "help" and given[1] in COMMANDS:
        return main([given[1], "--help"])
    try:
        sys.stdout.write(HELP)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_is_gone()
    return 0


def _run(given: list[str]) -> int:
    command, *rest = given
    module = COMMANDS.get(command)
    if module is None:
        from rbee.keeper.parsing import unknown_command

        raise unknown_command(command)
    from importlib import import_module

    run = import_module(f"rbee.keeper.commands.{module}").run
    code = run(command, rest)
    sys.stdout.flush()
    return int(code)


def _reader_is_gone() -> int:
    """`rbee … | head`: say nothing more, and let the interpreter flush into nowhere."""
    import os

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return 1
