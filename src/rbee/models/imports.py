"""Models that other programs hold already, linked instead of fetched: no second copy.

Their caches are read, never written to. A link may dangle when its owner removes the file; the
owner may also rewrite it, so it is a symbolic link, and its identity is looked at before each load.
Where a cache names the digest of a file, the file must have it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rbee.edge.disk import translated
from rbee.errors import RbeeError
from rbee.models import names
from rbee.models.hashing import Progress
from rbee.models.linking import is_later_part, looked_at, parts_of, point
from rbee.models.manifest import digest_of, digest_of_all
from rbee.models.store import Store
from rbee.wire.problem import to_problem
from rbee.wire.stored import Imported
from rbee.wire.unreadable import UNREADABLE

_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_PROJECTOR = "clip"
"""Architecture of the files that vision models have beside them (`mmproj-…`)."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """A model file in somebody's cache."""

    files: tuple[Path, ...]
    """Several: a split model, in order."""
    name: str
    """The public name that it gets if no other model has it."""
    digest: str = ""
    """`sha256:…` as that cache names it; empty: it does not."""
    problem: str = ""
    """Why it is none of which a model can be made."""

    @property
    def path(self) -> Path:
        """What it is known by: the file itself, but for a split model, whose parts are found by
        their names."""
        return self.files[0] if len(self.files) > 1 else self.files[0].resolve()


def imported(store: Store, what: str, progress: Progress) -> tuple[Imported, ...]:
    """Link all that `what` holds: `ollama`, `huggingface`, `lmstudio`, each with `=FOLDER` if it is
    not where it is by default; or an absolute path of a file or folder. A bad file is told with its
    cause, and the others go on.

    Raises MODEL_FILE_MISSING if there is no such cache or path, DISK_… if the store cannot be
    written to.
    """
    kind, _, folder = what.partition("=")
    find = _FINDERS.get(kind, _folder)
    root = Path(folder or cache_root(kind)) if kind in _FINDERS else Path(what)
    if not root.is_absolute() or not root.exists():
        raise RbeeError("MODEL_FILE_MISSING", model=kind[:200], path=str(root))
    store.prepare()
    try:
        held = list(find(root))
    except OSError as exc:
        raise translated(exc, "read", root) from exc
    return tuple(_one(store, one, progress) for one in held)


def _one(store: Store, held: Held, progress: Progress) -> Imported:
    try:
        return _link(store, held, progress)
    except RbeeError as error:
        if error.code in ("DISK_FULL", "DISK_READ_ONLY"):
            raise
        return Imported(
            str(held.path), held.name, outcome="refused", problem=to_problem(error.report)
        )


def _link(store: Store, held: Held, progress: Progress) -> Imported:
    """Raises MODEL_CORRUPTED, MODEL_UNSUPPORTED, MODEL_FILE_MISSING, DISK_…."""
    path = held.path
    if held.problem:
        raise RbeeError("MODEL_CORRUPTED", model=held.name, problem=held.problem)
    ref = names.File(str(path)).ref
    if (known := _here(store, ref)) is not None:
        return known
    pieces, facts = looked_at(held.files, model=held.name, progress=progress)
    digest = digest_of_all(pieces)
    if held.digest not in ("", digest):
        raise RbeeError(
            "MODEL_CORRUPTED",
            model=held.name,
            problem="its sha256 is not the one that it is filed under",
            expected=held.digest,
            actual=digest,
        )
    if facts.architecture == _PROJECTOR:
        problem = "it lets another model see images, and is none itself"
        raise RbeeError("MODEL_UNSUPPORTED", model=held.name, problem=problem)
    for one in store.all():
        if one.digest == digest and store.file(one).exists():
            return Imported(str(path), one.name, "here", one.size_bytes, bool(held.digest))
    for piece, file in zip(pieces, held.files, strict=True):
        point(store, piece.digest, file.resolve(), progress)
    manifest = store.put(
        name=store.free_name(held.name, ref),
        ref=ref,
        sources=[ref],
        files=pieces,
        facts=facts,
        digest_known=bool(held.digest),
    )
    return Imported(str(path), manifest.name, "linked", manifest.size_bytes, manifest.digest_known)


def _here(store: Store, ref: str) -> Imported | None:
    """What an earlier import linked, if the file is what it was then: it is not read again."""
    manifest = store.get(ref)
    try:
        if manifest is None or store.needs_hash(manifest):
            return None
    except RbeeError:
        return None
    path = str(store.blob(manifest.files[0].digest).resolve())
    return Imported(path, manifest.name, "here", manifest.size_bytes, manifest.digest_known)


def _ollama(root: Path) -> Iterator[Held]:
    """manifests/HOST/NAMESPACE/NAME/TAG, each a list of layers; blobs/sha256-…"""
    for path in sorted((root / "manifests").rglob("*")):
        if not path.is_file():
            continue
        *_, name, tag = path.parts
        public = _public(f"{name}:{tag}")
        digest = _ollama_layer(path)
        if not digest:
            yield Held((path,), public, problem="its manifest names no model file")
            continue
        yield Held((root / "blobs" / f"sha256-{digest}",), public, f"sha256:{digest}")


def _ollama_layer(path: Path) -> str:
    """The hex digest of the layer that is the model; empty: there is none."""
    if path.stat().st_size > _MANIFEST_BYTES:
        return ""
    try:
        said: Any = msgspec.json.decode(path.read_bytes())
        layers = said["layers"]
        found = [one["digest"] for one in layers if one.get("mediaType") == _OLLAMA_MODEL]
        digest = str(found[0]).removeprefix("sha256:")
    except (*UNREADABLE, KeyError, IndexError, TypeError, AttributeError):
        return ""
    return digest if _SHA256.fullmatch(digest) else ""


def _huggingface(root: Path) -> Iterator[Held]:
    """models--ORG--REPO/snapshots/REVISION/FILE, a link to blobs/NAME; of a large file NAME is its
    sha256."""
    seen: set[Path] = set()
    for path in sorted(root.glob("models--*/snapshots/*/**/*.gguf")):
        files = parts_of(path)
        blobs = [file.resolve().name for file in files]
        if path.resolve() in seen or is_later_part(path):
            continue
        seen.add(path.resolve())
        known = all(_SHA256.fullmatch(blob) for blob in blobs)
        digest = digest_of([f"sha256:{blob}" for blob in blobs]) if known else ""
        yield Held(files, names.whole_stem(path.name), digest)


def _folder(root: Path) -> Iterator[Held]:
    """Every *.gguf below a folder (LM Studio: ORG/REPO/FILE), or one file."""
    found = [root] if root.is_file() else sorted(root.rglob("*.gguf"))
    for path in found:
        if not is_later_part(path):
            yield Held(parts_of(path), names.whole_stem(path.name))


def _public(name: str) -> str:
    """A name of Ollama's as ours; they allow the same letters."""
    return re.sub(r"[^A-Za-z0-9._:-]", "-", name)


_FINDERS: dict[str, Callable[[Path], Iterator[Held]]] = {
    "ollama": _ollama,
    "huggingface": _huggingface,
    "lmstudio": _folder,
}
CACHES = tuple(_FINDERS)


def cache_root(kind: str) -> str:
    """Where that program keeps its models, as its own variables say; empty: it is none of
    CACHES."""
    home = Path.home()
    if kind == "ollama":
        return os.environ.get("OLLAMA_MODELS") or str(home / ".ollama" / "models")
    if kind == "lmstudio":
        now, before = home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"
        return str(before if before.exists() and not now.exists() else now)
    if kind == "huggingface":
        named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
        cache = os.environ.get("XDG_CACHE_HOME") or str(home / ".cache")
        base = os.environ.get("HF_HOME") or f"{cache}/huggingface"
        return named or f"{base}/hub"
    return ""
