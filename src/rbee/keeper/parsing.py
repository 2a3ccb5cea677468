"""Arguments of commands: argparse that reports through the catalogue and names the nearest word."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rbee.errors import RbeeError
from rbee.keeper.help import COMMANDS

_MOST_SEED = (1 << 32) - 1


class Parser(argparse.ArgumentParser):
    """One command's arguments; every command has `--json` and `--url`."""

    def __init__(self, command: str, summary: str, *, remote: bool = True) -> None:
        super().__init__(
            prog=f"rbee {command}",
            description=summary,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--json", action="store_true", help="facts as JSON, one object a line")
        if remote:
            self.add_argument("--url", default="", metavar="URL", help="another rbee; or RBEE_URL")

    def error(self, message: str) -> NoReturn:
        raise RbeeError("USAGE", problem=f"{self.prog}: {message}")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Raises USAGE; an unknown flag names the nearest one."""
        found, unknown = self.parse_known_args(list(arguments))
        if unknown:
            word = unknown[0].split("=", 1)[0]
            known = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unknown argument {unknown[0][:80]}{nearest(word, known)}")
        return found


def verbs(command: str, arguments: Sequence[str], known: Iterable[str]) -> tuple[str, list[str]]:
    """The second word (`models pull`) and what follows. Raises USAGE; prints help if asked."""
    names = list(known)
    words = f"rbee {command} {' | '.join(names)}"
    if not arguments:
        raise RbeeError("USAGE", problem=f"say what to do: {words}")
    if arguments[0] in ("-h", "--help"):
        print(f"{words}\n\nEach has its own --help.")
        raise SystemExit(0)
    if arguments[0] not in names:
        problem = (
            f"rbee {command} has no {arguments[0][:80]}{nearest(arguments[0], names)}; {words}"
        )
        raise RbeeError("USAGE", problem=problem)
    return arguments[0], list(arguments[1:])


def nearest(word: str, known: Iterable[str]) -> str:
    """` (nearest: pull)`, or nothing if no word is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (nearest: {found[0]})" if found else ""


def unknown_command(command: str) -> RbeeError:
    """USAGE for a word that is no command."""
    return RbeeError(
        "USAGE", problem=f"rbee has no command {command[:80]}{nearest(command, COMMANDS)}"
    )


def time_flag(text: str) -> float:
    """`--timeout 90`, `--timeout 5m` in seconds."""
    from rbee.wire.units import parse_time_s

    try:
        found = parse_time_s(text, bare=True)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text[:40]} {exc}") from exc
    if found <= 0:
        raise argparse.ArgumentTypeError("a time must be longer than 0")
    return found


def count_flag(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number of at least 1")
    return int(text)


def amount_flag(text: str) -> int:
    """`--tpm 20k`, `--tpm 1.5M`, `--rpm 60`: at least 1."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    digits = text[:-1] if factor > 1 else text
    try:
        found = int(float(digits) * factor) if digits.replace(".", "", 1).isdecimal() else 0
    except (OverflowError, ValueError):
        found = 0
    if not 1 <= found <= 1_000_000_000:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a number such as 60 or 20k")
    return found


def size_flag(text: str) -> int:
    """`--keep 50GiB` in bytes."""
    from rbee.wire.units import parse_size_bytes

    try:
        return parse_size_bytes(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text[:40]} {exc}") from exc


def temperature_flag(text: str) -> float:
    """A finite number of at least 0."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found >= 0):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a number of at least 0")
    return found


def seed_flag(text: str) -> int:
    """What the engine takes: 32 bits."""
    if not text.isdecimal() or len(text) > 10 or int(text) > _MOST_SEED:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number (0 to {_MOST_SEED})")
    return int(text)


def port_flag(text: str) -> str:
    """A port; 0 picks a free one."""
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a port (0 to 65535)")
    return text
