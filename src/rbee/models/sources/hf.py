"""Models of Hugging Face, or of a mirror (`HF_ENDPOINT`), by way of its own library.

The library knows the addresses and the keys (`HF_TOKEN`, the file of `hf auth login`) and asks for
what a repository holds; it is imported where it is used, since it takes its time. The files are
fetched by us, at the commit that was found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from rbee.edge.web import Web, source_of
from rbee.errors import RbeeError
from rbee.models.names import Hf, is_inside
from rbee.models.sources import Found, Remote
from rbee.models.sources.asking import STALL_S, patiently
from rbee.models.sources.hf_choice import Unclear, choose, models_of
from rbee.models.sources.https import probe
from rbee.policy.fetching import Fault, refusal
from rbee.version import VERSION

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.errors import HfHubHTTPError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PAUSE = re.compile(r"\br=0;t=([0-9]{1,6})\b")
"""Seconds until more is answered, in the hub's own header."""
_GIVE_KEY = "give your key: hf auth login, or set HF_TOKEN before rbee up"
_URL = re.compile(r"\S+://\S+")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file as the repository lists it."""

    path: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class _Repository:
    """What a repository holds at one commit."""

    commit: str
    gated: bool
    """Whether its owner has to let one in."""
    files: Sequence[_Stored]


def resolve(name: Hf, web: Web) -> Found:
    """The files of the model that is meant. Raises SOURCE_…, DOWNLOAD_STALLED."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    source = source_of(hf_hub_url(name.repo, "-", endpoint=endpoint))
    repository = _Asking(name, endpoint, source).repository()
    listed = {file.path: file for file in repository.files}
    chosen = choose(models_of(list(listed)), name)
    if isinstance(chosen, Unclear):
        raise RbeeError("SOURCE_NOT_FOUND", model=name.name, source=source, problem=chosen.problem)
    sent = build_hf_headers()
    key = {"authorization": sent["authorization"]} if "authorization" in sent else {}
    remotes = tuple(
        Remote(
            hf_hub_url(name.repo, path, revision=repository.commit, endpoint=endpoint),
            listed[path].size_bytes,
            listed[path].digest,
            headers=MappingProxyType(key),
            name=path.rsplit("/", 1)[-1],
        )
        for path in chosen.files
    )
    if repository.gated:
        _let_in(remotes[0], name, web)
    return Found(name.ref, remotes, repository.commit)


def _let_in(remote: Remote, name: Hf, web: Web) -> None:
    """Everybody may see what a gated repository holds; whether we may have it, a byte of it tells.
    Raises SOURCE_FORBIDDEN."""
    try:
        probe(web, remote, model=name.name)
    except RbeeError as error:
        if error.code != "SOURCE_FORBIDDEN":
            raise
        source = source_of(remote.url)
        problem = _gated(name, source, has_key=bool(remote.headers))
        raise RbeeError(error.code, model=name.name, source=source, problem=problem) from error


def _gated(name: Hf, source: str, *, has_key: bool) -> str:
    key = "the key in use has none" if has_key else f"then {_GIVE_KEY}"
    return f"ask for access at its page ({source}/{name.repo}); {key}"


class _Asking:
    """One look at a repository."""

    def __init__(self, name: Hf, endpoint: str | None, source: str) -> None:
        self._name = name
        self._endpoint = endpoint
        self._source = source

    def repository(self) -> _Repository:
        """Asked for again while that may help."""
        from huggingface_hub import HfApi

        hub = HfApi(endpoint=self._endpoint, library_name="rbee", library_version=VERSION)
        return patiently(
            lambda: self._ask(hub), model=self._name.name, url=f"https://{self._source}"
        )

    def _ask(self, hub: HfApi) -> _Repository | Fault:
        from huggingface_hub.errors import HfHubHTTPError

        # What the web client of this version of the library raises, and the system beneath it.
        unreached: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, OSError)
        revision = self._name.revision or None
        try:
            info = hub.model_info(
                self._name.repo, revision=revision, timeout=STALL_S, files_metadata=True
            )
            return _repository(info, revision or "main")
        except HfHubHTTPError as error:
            return self._refusal(error)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return Fault("SOURCE_BROKEN", "what it says of this repository is no list", again=False)
        except unreached as error:
            if "Timeout" in type(error).__name__ or "timed out" in str(error):
                raise RbeeError(
                    "DOWNLOAD_STALLED",
                    model=self._name.name,
                    source=self._source,
                    limit_s=STALL_S,
                ) from error
            words = _URL.sub("…", str(error)).partition("\n")[0][:200]
            return Fault("SOURCE_UNREACHABLE", words or "no answer came", again=True)

    def _refusal(self, error: HfHubHTTPError) -> Fault:
        from huggingface_hub import errors

        name = self._name
        headers = {key.lower(): value for key, value in error.response.headers.items()}
        if isinstance(error, errors.GatedRepoError):
            has_key = "authorization" in error.response.request.headers
            gated = _gated(name, self._source, has_key=has_key)
            return Fault("SOURCE_FORBIDDEN", gated, again=False)
        if isinstance(error, errors.DisabledRepoError):
            return Fault("SOURCE_FORBIDDEN", "this repository was disabled there", again=False)
        if isinstance(error, errors.RevisionNotFoundError):
            problem = f"{name.repo} has no commit, tag or branch {name.revision}"
            return Fault("SOURCE_NOT_FOUND", problem, again=False)
        if isinstance(error, errors.RepositoryNotFoundError):
            problem = f"there is no {name.repo}, or it is private: {_GIVE_KEY}"
            return Fault("SOURCE_NOT_FOUND", problem, again=False)
        if found := _PAUSE.search(headers.get("ratelimit", "")):
            headers.setdefault("retry-after", found[1])
        return refusal(error.response.status_code, headers)


def _repository(info: ModelInfo, revision: str) -> _Repository:
    """What is used of it, checked. Raises ValueError and its like for what is none."""
    files = []
    for one in info.siblings or ():
        size_bytes, digest = one.size or 0, ""
        if one.lfs is not None:
            size_bytes, digest = one.lfs.size, f"sha256:{one.lfs.sha256}"
        if not isinstance(size_bytes, int) or size_bytes < 0:
            raise ValueError("a size that is none")
        if digest and _DIGEST.fullmatch(digest) is None:
            raise ValueError("a digest that is none")
        if one.rfilename.isprintable() and is_inside(one.rfilename):
            files.append(_Stored(one.rfilename, size_bytes, digest))
    commit = info.sha or ""
    found = commit if _COMMIT.fullmatch(commit) else revision
    return _Repository(found, bool(info.gated), files)
