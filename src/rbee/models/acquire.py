"""Have a model in the store: found, fetched, checked, named. Blocks: runs in the niced child."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rbee.edge.disk import identity, translated
from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models import gguf, names
from rbee.models.bringing import Bringer, Goods
from rbee.models.catalogue import entries
from rbee.models.download import SOURCE_CODES
from rbee.models.hashing import Progress, Trouble, hash_file
from rbee.models.manifest import Manifest, digest_of
from rbee.models.origin import Origin, RemoteName, origin_of
from rbee.models.store import Store, piece_of
from rbee.settings import Settings


class Acquire:
    """Pulls models into one store."""

    def __init__(
        self, store: Store, settings: Settings, progress: Progress, trouble: Trouble
    ) -> None:
        self._store = store
        self._settings = settings
        self._progress = progress
        self._trouble = trouble
        self._began_at = time.time()

    def pull(self, text: str) -> Manifest:
        """The model of that name, as its source has it now; nothing is fetched if it is here.

        Raises what went wrong. What came of a download is kept, to go on there.
        """
        name = names.parse(text)
        self._store.prepare()
        stored = self._store.get(names.unpinned(name).ref)
        if stored is not None and isinstance(name, names.Plain):
            # A stored model may be called by its public name too.
            name = replace(names.parse(stored.ref), digest=name.digest)
        if stored is not None and self._is_current(name, stored):
            return stored
        if isinstance(name, names.File):
            return self._link(name)
        return self._fetch(name)

    def _is_current(self, name: names.Name, stored: Manifest) -> bool:
        """Whether what is stored is whole, and what the name stands for now."""
        if not self._whole(stored):
            return False
        if name.digest:
            return name.digest == stored.digest
        if isinstance(name, names.File):
            return True
        if isinstance(name, names.Plain) and name.name not in entries():
            return True
        return not self._moved(name, stored)

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

    # --- a person's own file ----------------------------------------------------------------

    def _link(self, name: names.File) -> Manifest:
        """Its structure checked, its digest taken, and linked, not copied."""
        path = Path(name.path)
        try:
            if not path.is_file():
                raise RbeeError("MODEL_FILE_MISSING", model=name.name, path=name.path)
            facts = gguf.read_facts(path, model=name.name)
            before = identity(path)
            hashed = hash_file(path, before.size_bytes, self._progress)
        except OSError as exc:
            raise translated(exc, "read", path) from exc
        if name.digest and hashed.digest != name.digest:
            raise RbeeError(
                "MODEL_VERSION_MISMATCH",
                model=name.name,
                wanted=name.digest,
                found=hashed.digest,
            )
        self._point(self._store.blob(hashed.digest), path)
        ref = names.unpinned(name).ref
        with self._naming():
            return self._store.put(
                name=self._store.free_name(name.name, ref),
                ref=ref,
                sources=[ref],
                files=[piece_of(hashed, before)],
                facts=facts,
                digest_known=bool(name.digest),
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

    # --- what others have -------------------------------------------------------------------

    def _fetch(self, name: RemoteName | names.Plain) -> Manifest:
        origin = origin_of(name, self._settings.models)
        goods = self._bringer(origin).bring(origin, self._arrived(origin))
        with self._naming():
            public = origin.name
            if not isinstance(name, names.Plain):
                public = self._store.free_name(public, origin.ref)
            return self._store.put(
                name=public,
                ref=origin.ref,
                sources=origin.sources,
                files=goods.files,
                facts=goods.facts,
                digest_known=goods.digest_known,
                revision=goods.revision,
            )

    def _moved(self, name: RemoteName | names.Plain, stored: Manifest) -> bool:
        """Whether its source has another version now. One that cannot be asked has not: what is
        here goes on serving."""
        origin = origin_of(name, self._settings.models)
        if not origin.moves:
            return bool(origin.digest) and origin.digest != stored.digest
        try:
            found = self._bringer(origin).found(origin.sources[0], origin)
        except RbeeError as error:
            if error.code not in SOURCE_CODES:
                raise
            return False
        digests = [file.digest for file in found.files]
        return all(digests) and digest_of(digests) != stored.digest

    def _bringer(self, origin: Origin) -> Bringer:
        web = Web(origin.name, self._settings.timing)
        return Bringer(self._store, self._settings, self._progress, self._trouble, web)

    def _arrived(self, origin: Origin) -> Callable[[], Goods | None]:
        """For a download that was waited for and whose digest nobody knows: whether whoever had it
        has stored it since."""

        def look() -> Goods | None:
            stored = self._store.get(origin.ref)
            if stored is None or stored.added_at < self._began_at or not self._whole(stored):
                return None
            return Goods(stored.files, stored.facts, stored.revision, stored.digest_known)

        return look

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """One process at a time gives names; the lock dies with its holder."""
        try:
            lock = os.open(self._store.root / "names.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise translated(exc, "write to", self._store.root) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
