"""The content-addressed store: blobs named by their sha256, manifests that name them.

    blobs/sha256-…         the files; for `file:` models a symbolic link to the person's own file
    splits/HEX/NAME.gguf   links to the blobs of a model of several files, under the names that the
                           engine expects
    partials/KEY/          downloads that are under way or can be resumed (`models.partial`)
    manifests/NAME.json    what is known of a model: the truth, replaced whole or not at all

A blob is put under its name only when its digest was computed and right. A file that was changed
since (by inode, size, mtime or ctime) is hashed again before it is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import msgspec

from rbee.edge.disk import Identity, identity, translated
from rbee.edge.private_file import write_private
from rbee.errors import RbeeError
from rbee.models.gguf import Facts
from rbee.models.hashing import Hashed, Progress, hash_file
from rbee.models.manifest import SCHEMA, Manifest, Piece, decode, digest_of_all
from rbee.wire.control import ModelView


def piece_of(hashed: Hashed, verified: Identity, name: str = "") -> Piece:
    """A file as its manifest names it. `verified`: its identity when it was hashed, taken before
    the first byte was read, so that a later write is seen."""
    return Piece(hashed.digest, hashed.size_bytes, asdict(verified), hashed.chunks, name)


class Store:
    """A folder of models. Methods block: they run in the niced child, or in a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.partials = root / "partials"
        self._splits = root / "splits"
        self._manifests = root / "manifests"

    def prepare(self) -> None:
        """Make the folders. Raises DISK_… as the disk refuses."""
        try:
            for folder in (self.blobs, self.partials, self._manifests):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc

    def all(self) -> list[Manifest]:
        """Every stored model, by name; a manifest that cannot be read is passed over."""
        found = []
        for path in sorted(self._manifests.glob("*.json")):
            try:
                found.append(decode(path.read_bytes()))
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
            digest_known=manifest.digest_known,
            source=manifest.sources[0],
            revision=manifest.revision,
            added_at=manifest.added_at,
            architecture=facts.architecture,
            context_train_tokens=facts.context_train_tokens,
            embedding_length=facts.embedding_length,
            parameters=facts.parameters,
            quantisation=facts.quantisation,
            path=str(self.file(manifest)),
        )

    def get(self, name_or_ref: str) -> Manifest | None:
        """The model of that public name or ref."""
        for manifest in self.all():
            if name_or_ref in (manifest.name, manifest.ref):
                return manifest
        return None

    def blob(self, digest: str) -> Path:
        return self.blobs / digest.replace(":", "-")

    def file(self, manifest: Manifest) -> Path:
        """What the engine is given: the blob, or the first of several links to blobs."""
        if len(manifest.files) == 1:
            return self.blob(manifest.digest)
        return self._split(manifest) / manifest.files[0].name

    def put(
        self,
        *,
        name: str,
        ref: str,
        sources: Sequence[str],
        files: Sequence[Piece],
        facts: Facts,
        digest_known: bool,
        revision: str = "",
    ) -> Manifest:
        """Name blobs that are in place. Raises DISK_…"""
        manifest = Manifest(
            schema=SCHEMA,
            name=name,
            ref=ref,
            sources=tuple(sources),
            digest=digest_of_all(files),
            digest_known=digest_known,
            size_bytes=sum(piece.size_bytes for piece in files),
            added_at=time.time(),
            files=tuple(files),
            facts=facts,
            revision=revision,
        )
        try:
            self._link_split(manifest)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc
        self.write(manifest)
        return manifest

    def remove(self, name_or_ref: str) -> Manifest:
        """Forget a model, and its blobs that no other model names. A `file:` model's own file
        stays: only the link goes. Raises MODEL_NOT_FOUND or DISK_…"""
        manifest = self.get(name_or_ref)
        if manifest is None:
            raise RbeeError("MODEL_NOT_FOUND", model=name_or_ref[:200], nearest=[])
        try:
            self._manifest_path(manifest.name).unlink(missing_ok=True)
            named = {piece.digest for other in self.all() for piece in other.files}
            for piece in manifest.files:
                if piece.digest not in named:
                    self.blob(piece.digest).unlink(missing_ok=True)
            self._unlink_split(manifest)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc
        return manifest

    def needs_hash(self, manifest: Manifest) -> bool:
        """Whether a file changed since its digest was found right.

        Raises MODEL_FILE_MISSING if it is gone.
        """
        return any(
            asdict(self.identity(manifest, piece)) != piece.identity for piece in manifest.files
        )

    def identity(self, manifest: Manifest, piece: Piece) -> Identity:
        """Raises MODEL_FILE_MISSING if the file is gone, DISK_… if it cannot be looked at."""
        blob = self.blob(piece.digest)
        try:
            return identity(blob)
        except FileNotFoundError as exc:
            path = str(blob.readlink()) if blob.is_symlink() else str(blob)
            raise RbeeError("MODEL_FILE_MISSING", model=manifest.name, path=path) from exc
        except OSError as exc:
            raise translated(exc, "read", blob) from exc

    def verify(self, manifest: Manifest, progress: Progress) -> Manifest:
        """Hash the files again; their identities are then those that are known to be right.

        Raises MODEL_CORRUPTED if a digest is another one.
        """
        pieces = []
        for piece in manifest.files:
            before = self.identity(manifest, piece)
            hashed = hash_file(self.blob(piece.digest), before.size_bytes, progress)
            if hashed.digest != piece.digest:
                raise RbeeError(
                    "MODEL_CORRUPTED",
                    model=manifest.name,
                    problem="its sha256 is not the one that it was stored with",
                    expected=piece.digest,
                    actual=hashed.digest,
                )
            pieces.append(piece_of(hashed, before, piece.name))
        good = msgspec.structs.replace(manifest, files=tuple(pieces))
        self.write(good)
        return good

    def write(self, manifest: Manifest) -> None:
        """Replace what is known of a model. Raises DISK_…"""
        try:
            write_private(self._manifest_path(manifest.name), msgspec.json.encode(manifest))
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc

    def _manifest_path(self, name: str) -> Path:
        return self._manifests / (quote(name, safe="") + ".json")

    def _split(self, manifest: Manifest) -> Path:
        return self._splits / manifest.digest.removeprefix("sha256:")

    def _link_split(self, manifest: Manifest) -> None:
        if len(manifest.files) == 1:
            return
        folder = self._split(manifest)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for piece in manifest.files:
            link = folder / piece.name
            link.unlink(missing_ok=True)
            link.symlink_to(self.blob(piece.digest))

    def _unlink_split(self, manifest: Manifest) -> None:
        folder = self._split(manifest)
        if len(manifest.files) == 1 or any(one.digest == manifest.digest for one in self.all()):
            return
        for piece in manifest.files:
            (folder / piece.name).unlink(missing_ok=True)
        if folder.is_dir():
            folder.rmdir()
