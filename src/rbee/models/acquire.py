"""Have a model in the store: found, fetched, checked, named. Blocks: runs in the niced child."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rbee.edge.disk import translated
from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models import names
from rbee.models.bringing import Bringer
from rbee.models.catalogue import entries
from rbee.models.download import SOURCE_CODES
from rbee.models.hashing import Progress, Trouble
from rbee.models.linking import looked_at, parts_of, point
from rbee.models.locks import alone
from rbee.models.manifest import Manifest, digest_of, digest_of_all
from rbee.models.origin import Origin, RemoteName, origin_of
from rbee.models.store import Store
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
        with self._alone(name):
            # Whoever was waited for may have brought it.
            now = self._store.get(names.unpinned(name).ref)
            if now is not None and now != stored and self._is_current(name, now):
                return now
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
        """Its structure checked, its digest taken, and linked, not copied; with it the other files
        of the same model, if it is one of several."""
        paths = parts_of(Path(name.path))
        pieces, facts = looked_at(paths, model=name.name, progress=self._progress)
        digest = digest_of_all(pieces)
        if name.digest not in ("", digest):
            raise RbeeError(
                "MODEL_VERSION_MISMATCH", model=name.name, wanted=name.digest, found=digest
            )
        for piece, path in zip(pieces, paths, strict=True):
            point(self._store, piece.digest, path, self._progress)
        ref = names.unpinned(name).ref
        with self._naming():
            return self._store.put(
                name=self._store.free_name(name.name, ref),
                ref=ref,
                sources=[ref],
                files=pieces,
                facts=facts,
                digest_known=bool(name.digest),
            )

    # --- what others have -------------------------------------------------------------------

    def _fetch(self, name: RemoteName | names.Plain) -> Manifest:
        origin = origin_of(name, self._settings.models)
        goods = self._bringer(origin).bring(origin)
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
        web = Web(origin.told, self._settings.timing)
        return Bringer(self._store, self._settings, self._progress, self._trouble, web)

    @contextmanager
    def _alone(self, name: RemoteName | names.Plain) -> Iterator[None]:
        """One process at a time brings what this name stands for."""
        key = hashlib.sha256(names.unpinned(name).ref.encode()).hexdigest()
        lock = self._store.root / "pulls" / key

        try:
            with alone(lock, lambda: self._progress("waiting for another download", 0, 0)):
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
        except OSError as exc:
            raise translated(exc, "write to", self._store.root) from exc

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """One process at a time gives names."""
        try:
            with alone(self._store.root / "names.lock", lambda: None):
                yield
        except OSError as exc:
            raise translated(exc, "write to", self._store.root) from exc
