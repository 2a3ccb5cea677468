"""A stored model made right again: by chunks where its source gives parts, else fetched anew."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rbee.errors import RbeeError
from rbee.models.acquire import Acquire
from rbee.models.hashing import Progress
from rbee.models.manifest import Manifest, Piece
from rbee.models.store import Store
from rbee.models.verify import scrub
from rbee.settings import Settings
from rbee.wire.stored import Verified

_DAMAGE = ("MODEL_CORRUPTED", "MODEL_FILE_MISSING")


def repaired(store: Store, settings: Settings, manifest: Manifest, progress: Progress) -> Verified:
    """Read a model again, mend it if it is damaged.

    Raises MODEL_CORRUPTED or MODEL_FILE_MISSING if it is and no source has it,
    MODEL_VERSION_MISMATCH if its source has another version now, DISK_…, and what stands in the way
    of fetching it again (SOURCE_…).
    """
    try:
        found = scrub(store, manifest, progress, _whole_files_only)
    except RbeeError as error:
        if error.code not in _DAMAGE or not has_source(manifest):
            raise
        whole = Acquire(store, settings, progress).pull(manifest.ref)
        if whole.digest != manifest.digest:
            raise _another_version(store, manifest, whole) from error
        chunks = sum(len(piece.chunks) for piece in whole.files)
        view = store.view(whole)
        return Verified(view, chunks, chunks, whole.size_bytes, whole=True)
    return Verified(store.view(found.manifest), found.chunks, found.rotted, found.fetched_bytes)


def has_source(manifest: Manifest) -> bool:
    """Whether it can be had again from elsewhere than a person's own file."""
    return not all(source.startswith(("file:", "/")) for source in manifest.sources)


def _another_version(store: Store, wanted: Manifest, found: Manifest) -> RbeeError:
    """A repair is no update: the name goes back to what it stood for, and what came goes as a
    version that nobody uses."""
    files = tuple(msgspec.structs.replace(piece, identity={}) for piece in wanted.files)
    over = (*wanted.superseded, *(piece.digest for piece in found.files))
    store.write(msgspec.structs.replace(wanted, files=files, superseded=over))
    return RbeeError(
        "MODEL_VERSION_MISMATCH", model=wanted.name, wanted=wanted.digest, found=found.digest
    )


def _whole_files_only(source: str, piece: Piece, begin: int, end: int) -> Iterator[bytes] | None:
    """No source of this rbee gives parts of a file: a wheel is compressed."""
    return None
