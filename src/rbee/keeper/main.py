"""`rbee`: finds the command, runs it, and turns whatever goes wrong into a screen and an exit code.

Help is printed before anything is imported; a command imports only its own file.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from rbee.keeper.help import COMMANDS, HELP

_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""What a write to a stream that is open may end in; it names no file."""

_HELP_WORDS = ("-h", "--help", "help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and raises nothing."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_what_is_closed()
    try:
        if not given or given[0] in _HELP_WORDS:
            return _print_help(given)
        if given[0] in ("-V", "--version"):
            given[0] = "version"
        return _run(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_is_gone()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except Exception as exc:
        from rbee.keeper.failure import show_exception

        return show_exception(_as_refused(exc), json="--json" in given)


def _print_help(given: list[str]) -> int:
    if len(given) == 2 and given[0] == "help" and given[1] in COMMANDS:
        return main([given[1], "--help"])
    sys.stdout.write(HELP)
    sys.stdout.flush()
    return 0


def _run(given: list[str]) -> int:
    _check_text(given)
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


def _check_text(given: list[str]) -> None:
    """Raises USAGE for bytes that are no text: nothing could carry them, neither JSON nor a
    screen."""
    for number, word in enumerate(given, 1):
        try:
            word.encode()
        except UnicodeEncodeError as exc:
            from rbee.errors import RbeeError

            raise RbeeError("USAGE", problem=f"word {number} behind rbee is no UTF-8") from exc


def _open_what_is_closed() -> None:
    """`rbee … >&-`: what nobody wants to read goes nowhere, and not into the next file opened."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _reader_is_gone() -> int:
    """`rbee … | head`: say nothing more."""
    _print_nowhere()
    return 1


def _as_refused(exc: Exception) -> Exception:
    """`rbee … > FILE` on a full disk is the disk's refusal, and no mistake of ours."""
    if not isinstance(exc, OSError) or exc.filename is not None or exc.errno not in _REFUSALS:
        return exc
    from rbee.errors import RbeeError

    _print_nowhere()
    return RbeeError("DISK_IO", act="take what rbee printed", problem=exc.strerror or repr(exc))


def _print_nowhere() -> None:
    """The interpreter flushes at its end, and must not fail then."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
