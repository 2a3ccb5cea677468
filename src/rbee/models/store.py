"""The content-addressed store: blobs named by their sha256, manifests that name them.

    blobs/sha256-…         the files; for `file:` models a symbolic link to the person's own file
    manifests/NAME.json    what is known of a model: the truth, replaced whole or not at all

A blob is put under its name only when its digest was computed and right. A file that was changed
since (by inode, size, mtime or ctime) is hashed again before it is loaded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import msgspec

from rbee.edge.disk import Identity, identity, translated
from rbee.edge.private_file import write_private
from rbee.errors import RbeeError
from rbee.models.gguf import Facts
from rbee.wire.control import ModelView

Progress = Callable[[str, int, int], None]
"""Phase, bytes done, bytes in all."""

_HASH_BYTES = 4 << 20


class Manifest(msgspec.Struct, frozen=True):
    """What is known of one stored model."""

    schema: int
    name: str
    ref: str
    source: str
    digest: str
    size_bytes: int
    added_at: float
    identity: dict[str, int]
    """Of the file when its digest was last found right."""
    facts: Facts


class Store:
    """A folder of models. Methods block: they run in the niced child, or in a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self._manifests = root / "manifests"

    def prepare(self) -> None:
        """Make the folders. Raises DISK_… as the disk refuses."""
        try:
            for folder in (self.blobs, self._manifests):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc

    def all(self) -> list[Manifest]:
        """Every stored model, by name; a manifest that cannot be read is passed over."""
        found = []
        for path in sorted(self._manifests.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Manifest))
            except (OSError, msgspec.DecodeError):
                continue
        return found

    def views(self) -> tuple[ModelView, ...]:
        return tuple(self.view(manifest) for manifest in self.all())

    def view(self, manifest: Manifest) -> ModelView:
        """The model as the other rooms know it."""
        facts = manifest.facts
        return ModelView(
            name=manifest.name,
            ref=manifest.ref,
            size_bytes=manifest.size_bytes,
            digest=manifest.digest,
            source=manifest.source,
            added_at=manifest.added_at,
            architecture=facts.architecture,
            context_train_tokens=facts.context_train_tokens,
            embedding_length=facts.embedding_length,
            parameters=facts.parameters,
            quantisation=facts.quantisation,
            path=str(self.blob(manifest.digest)),
        )

    def get(self, name_or_ref: str) -> Manifest | None:
        """The model of that public name or ref."""
        for manifest in self.all():
            if name_or_ref in (manifest.name, manifest.ref):
                return manifest
        return None

    def blob(self, digest: str) -> Path:
        return self.blobs / digest.replace(":", "-")

    def put(
        self, *, name: str, ref: str, source: str, digest: str, facts: Facts, verified: Identity
    ) -> Manifest:
        """Name a blob that is in place. `verified`: its identity when it was hashed, taken before
        the first byte was read, so that a later write is seen. Raises DISK_…"""
        try:
            manifest = Manifest(
                schema=1,
                name=name,
                ref=ref,
                source=source,
                digest=digest,
                size_bytes=verified.size_bytes,
                added_at=time.time(),
                identity=asdict(verified),
                facts=facts,
            )
            self._write(manifest)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc
        return manifest

    def remove(self, name_or_ref: str) -> Manifest:
        """Forget a model, and its blob if no other model names it. A `file:` model's own file
        stays: only the link goes. Raises MODEL_NOT_FOUND or DISK_…"""
        manifest = self.get(name_or_ref)
        if manifest is None:
            raise RbeeError("MODEL_NOT_FOUND", model=name_or_ref[:200], nearest=[])
        try:
            self._manifest_path(manifest.name).unlink(missing_ok=True)
            if not any(other.digest == manifest.digest for other in self.all()):
                self.blob(manifest.digest).unlink(missing_ok=True)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc
        return manifest

    def needs_hash(self, manifest: Manifest) -> bool:
        """Whether the file changed since its digest was found right.

        Raises MODEL_FILE_MISSING if it is gone.
        """
        return asdict(self.identity(manifest)) != manifest.identity

    def identity(self, manifest: Manifest) -> Identity:
        """Raises MODEL_FILE_MISSING if the file is gone, DISK_… if it cannot be looked at."""
        blob = self.blob(manifest.digest)
        try:
            return identity(blob)
        except FileNotFoundError as exc:
            path = str(blob.readlink()) if blob.is_symlink() else str(blob)
            raise RbeeError("MODEL_FILE_MISSING", model=manifest.name, path=path) from exc
        except OSError as exc:
            raise translated(exc, "read", blob) from exc

    def verify(self, manifest: Manifest, progress: Progress) -> Manifest:
        """Hash the file again; its identity is then the one that is known to be right.

        Raises MODEL_CORRUPTED if the digest is another one.
        """
        before = self.identity(manifest)
        blob = self.blob(manifest.digest)
        actual = digest_of(blob, before.size_bytes, progress)
        if actual != manifest.digest:
            raise RbeeError(
                "MODEL_CORRUPTED",
                model=manifest.name,
                problem="its sha256 is not the one that it was stored with",
                expected=manifest.digest,
                actual=actual,
            )
        good = msgspec.structs.replace(manifest, identity=asdict(before))
        try:
            self._write(good)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc
        return good

    def _write(self, manifest: Manifest) -> None:
        write_private(self._manifest_path(manifest.name), msgspec.json.encode(manifest))

    def _manifest_path(self, name: str) -> Path:
        return self._manifests / (quote(name, safe="") + ".json")


def digest_of(path: Path, size_bytes: int, progress: Progress) -> str:
    """`sha256:…` of a file, read once in order. Raises DISK_…"""
    sha = hashlib.sha256()
    done = 0
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BYTES):
                sha.update(block)
                done += len(block)
                progress("verifying", done, size_bytes)
    except OSError as exc:
        raise translated(exc, "read", path) from exc
    return "sha256:" + sha.hexdigest()
