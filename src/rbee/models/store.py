"""The content-addressed store: blobs named by their sha256, manifests that name them.

    blobs/sha256-…         the files; for `file:` models a symbolic link to the person's own file
    splits/HEX/NAME.gguf   links to the blobs of a model of several files, under the names that the
                           engine expects
    partials/KEY/          downloads that are under way or can be resumed (`models.partial`)
    manifests/NAME.json    what is known of a model: the truth, replaced whole or not at all
    manifests/NAME.json.v1 the same in the shape of an earlier rbee, until this one started well
    copies/NAME.json       a second copy of each manifest: one that is lost comes back from it
    index.sqlite           last uses (`models.index`); it can be made again from the manifests

A blob is put under its name only when its digest was computed and right. A file that was changed
since (by inode, size, mtime or ctime) is hashed again before it is loaded.
"""

from __future__ import annotations

import glob
import shutil
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import msgspec

from rbee.edge.disk import Identity, identity, translated
from rbee.edge.private_file import write_private
from rbee.errors import RbeeError
from rbee.models.gguf import Facts
from rbee.models.hashing import Hashed, Progress, hash_file
from rbee.models.manifest import SCHEMA, Manifest, Piece, decode, digest_of_all, shape_of
from rbee.wire.control import ModelView
from rbee.wire.unreadable import UNREADABLE


def digests_of(manifest: Manifest) -> tuple[str, ...]:
    """Of its files now, and of those that it stood for before."""
    return (*(piece.digest for piece in manifest.files), *manifest.superseded)


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
        self._copies = root / "copies"

    def prepare(self) -> None:
        """Make the folders. Raises DISK_… as the disk refuses."""
        try:
            for folder in (self.blobs, self.partials, self._manifests):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc

    def all(self) -> list[Manifest]:
        """Every stored model, by name; a manifest that cannot be read is passed over."""
        return [one for path in self._manifest_paths() if (one := _read(path)) is not None]

    def named(self) -> set[str]:
        """Digests of all files that a readable manifest names, those of before an update too."""
        return {digest for one in self.all() for digest in digests_of(one)}

    def views(self) -> tuple[ModelView, ...]:
        return tuple(self.view(manifest) for manifest in self.all())

    def view(self, manifest: Manifest, used_at: float = 0.0) -> ModelView:
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
            pinned=manifest.pinned,
            used_at=used_at or manifest.added_at,
            superseded=manifest.superseded,
        )

    def get(self, name_or_ref: str) -> Manifest | None:
        """The model of that public name or ref."""
        direct = _read(self.manifest_path(name_or_ref)) if len(name_or_ref) < 200 else None
        if direct is not None and direct.name == name_or_ref:
            return direct
        found = (one for one in self.all() if name_or_ref in (one.name, one.ref))
        return next(found, None)

    def free_name(self, name: str, ref: str) -> str:
        """A public name that no other model has: `tiny`, `tiny-2`, …"""
        number, free = 2, name
        while (other := self.get(free)) is not None and other.ref != ref:
            free = f"{name}-{number}"
            number += 1
        return free

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
        """Name blobs that are in place. The files that this name stood for before stay until
        `collect_superseded`, for the workers that use them. Raises DISK_…"""
        before = self.get(name)
        digests = {piece.digest for piece in files}
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
            pinned=before is not None and before.pinned,
            superseded=tuple(one for one in digests_of(before) if one not in digests)
            if before
            else (),
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
        path = self.manifest_path(manifest.name)
        try:
            # The copy first: what is half removed must not come back.
            self._copy_path(path).unlink(missing_ok=True)
            for old in path.parent.glob(glob.escape(path.name) + ".*"):
                old.unlink()
            path.unlink(missing_ok=True)
            self._drop_blobs(digests_of(manifest))
            self._sweep_splits()
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc
        return manifest

    def collect_superseded(self, in_use: Collection[str]) -> list[str]:
        """Remove the files of versions before the last update, but for models whose old version is
        in use (by ref). Gives the digests that went. Raises DISK_…"""
        gone: list[str] = []
        for manifest in self.all():
            if not manifest.superseded or manifest.ref in in_use:
                continue
            self.write(msgspec.structs.replace(manifest, superseded=()))
            try:
                gone += self._drop_blobs(manifest.superseded)
                self._sweep_splits()
            except OSError as exc:
                raise translated(exc, "write to", self.root) from exc
        return gone

    def pin(self, name_or_ref: str, *, pinned: bool) -> Manifest:
        """Have a model never pruned, or again. Raises MODEL_NOT_FOUND, DISK_…"""
        manifest = self.get(name_or_ref)
        if manifest is None:
            raise RbeeError("MODEL_NOT_FOUND", model=name_or_ref[:200], nearest=[])
        changed = msgspec.structs.replace(manifest, pinned=pinned)
        self.write(changed)
        return changed

    def own_files(self, manifest: Manifest) -> dict[str, int]:
        """Sizes by digest of the files that are the store's own: what removing it may free."""
        found = {}
        for digest in digests_of(manifest):
            blob = self.blob(digest)
            if blob.is_file() and not blob.is_symlink():
                found[digest] = blob.stat().st_size
        return found

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
        """Replace what is known of a model; a manifest of an earlier shape is kept beside it, so
        that an earlier rbee can be gone back to. Raises DISK_…"""
        path = self.manifest_path(manifest.name)
        try:
            if path.exists() and (shape := shape_of(path.read_bytes())) not in (0, SCHEMA):
                shutil.copyfile(path, path.with_name(f"{path.name}.v{shape}"))
            data = msgspec.json.encode(manifest)
            write_private(path, data)
            self._copy(path, data)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc

    def mend(self) -> list[str]:
        """Manifests that are gone or cannot be read come back from their copies, where their files
        are here; gives the names of those models. What could not be read is kept beside, as
        NAME.json.damaged. Raises DISK_…"""
        back = []
        try:
            for path in self._manifest_paths():
                if _read(path) is not None and not self._copy_path(path).exists():
                    self._copy(path, path.read_bytes())
            for copy in sorted(self._copies.glob("*.json")):
                path = self._manifests / copy.name
                known = _read(copy)
                if known is None or _is_somebodys(path) or not self.is_whole(known):
                    continue
                if path.exists():
                    path.replace(path.with_name(f"{path.name}.damaged"))
                write_private(path, copy.read_bytes())
                back.append(known.name)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc
        return back

    def is_whole(self, manifest: Manifest) -> bool:
        """Whether all its files are here, whatever they hold."""
        return all(self.blob(piece.digest).exists() for piece in manifest.files)

    def settle(self) -> None:
        """A start went well: manifests of earlier shapes go, where the new one can be read; where
        it cannot, the earlier one is put back. Raises DISK_…"""
        try:
            for old in sorted(self._manifests.glob("*.json.v*")):
                path = old.with_suffix("")
                if _read(path) is not None:
                    old.unlink()
                elif _read(old) is not None:
                    old.replace(path)
        except OSError as exc:
            raise translated(exc, "write to", self.root) from exc

    def manifest_path(self, name: str) -> Path:
        """Where the manifest of that public name stands."""
        return self._manifests / (quote(name, safe="") + ".json")

    def _copy_path(self, path: Path) -> Path:
        return self._copies / path.name

    def _copy(self, path: Path, data: bytes) -> None:
        self._copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._copy_path(path), data)

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

    def _drop_blobs(self, digests: Iterable[str]) -> list[str]:
        """Those that nobody names any more; a manifest that cannot be read, or is of a newer rbee,
        keeps what stands in it."""
        unread = b"".join(path.read_bytes() for path in self._manifest_paths() if not _read(path))
        named = self.named()
        gone = [one for one in digests if one not in named and one.encode() not in unread]
        for digest in gone:
            self.blob(digest).unlink(missing_ok=True)
        return gone

    def _sweep_splits(self) -> None:
        """Folders of links go when their files are gone."""
        for folder in self._splits.glob("*"):
            links = list(folder.iterdir())
            if not any(link.exists() for link in links):
                for link in links:
                    link.unlink()
                folder.rmdir()

    def _manifest_paths(self) -> list[Path]:
        return sorted(self._manifests.glob("*.json"))


def _is_somebodys(path: Path) -> bool:
    """Whether it can be read, by this rbee or by a newer one."""
    try:
        return shape_of(path.read_bytes()) > SCHEMA or _read(path) is not None
    except OSError:
        return False


def _read(path: Path) -> Manifest | None:
    """None: there is none that this rbee can read."""
    try:
        return decode(path.read_bytes())
    except (OSError, *UNREADABLE):
        return None
