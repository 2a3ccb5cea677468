"""A stored model made right again: by chunks where its source gives parts, else fetched anew."""

from __future__ import annotations

from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models import names
from rbee.models.acquire import Acquire
from rbee.models.at_source import range_reader, resolver
from rbee.models.fetch import Fetcher
from rbee.models.hashing import Progress, Trouble
from rbee.models.manifest import Manifest
from rbee.models.store import Store
from rbee.models.verify import scrub
from rbee.settings import Settings
from rbee.wire.stored import Verified

_DAMAGE = ("MODEL_CORRUPTED", "MODEL_FILE_MISSING")


def repaired(
    store: Store, settings: Settings, manifest: Manifest, progress: Progress, trouble: Trouble
) -> Verified:
    """Read a model again, mend it if it is damaged. A repair is no update: only the very bytes that
    were stored count.

    Raises MODEL_CORRUPTED or MODEL_FILE_MISSING if it is and no source has it,
    MODEL_VERSION_MISMATCH if its source has another version now, DISK_…, and what stands in the way
    of fetching it again (SOURCE_…).
    """
    web = Web(manifest.name, settings.timing)
    fetcher = Fetcher(store.partials, settings, progress, trouble, web)
    try:
        read = range_reader(resolver(web), fetcher.read_range)
        found = scrub(store, manifest, progress, read)
    except RbeeError as error:
        if error.code not in _DAMAGE or not has_source(manifest):
            raise
        same = f"{names.parse(manifest.ref).ref}@{manifest.digest}"
        whole = Acquire(store, settings, progress, trouble).pull(same)
        chunks = sum(len(piece.chunks) for piece in whole.files)
        view = store.view(whole)
        return Verified(view, chunks, chunks, whole.size_bytes, whole=True)
    return Verified(store.view(found.manifest), found.chunks, found.rotted, found.fetched_bytes)


def has_source(manifest: Manifest) -> bool:
    """Whether it can be had again from elsewhere than a person's own file."""
    return not all(source.startswith(("file:", "/")) for source in manifest.sources)
