"""What lies in a store beside its models: files without a name, downloads that can be resumed.

A file without a name is somebody's model whose manifest was lost or cannot be read: it is listed,
and only a person's word removes it. A partial download is removed 7 days after its last byte.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rbee.edge.disk import free_bytes, translated
from rbee.errors import RbeeError
from rbee.models.store import Store
from rbee.wire.stored import Leftover, Stock

PARTIAL_S = 7 * 24 * 3600.0


def stock(store: Store) -> Stock:
    """What is there beside the models. Raises DISK_…."""
    try:
        return Stock(free_bytes(store.root), unnamed(store), partials(store))
    except OSError as exc:
        raise translated(exc, "read", store.root) from exc


def unnamed(store: Store) -> tuple[Leftover, ...]:
    """Blobs that no readable manifest names."""
    named = store.named()
    found = []
    for blob in sorted(store.blobs.glob("sha256-*")):
        digest = blob.name.replace("-", ":", 1)
        if digest not in named:
            look = blob.lstat() if blob.is_symlink() else blob.stat()
            found.append(Leftover(digest, look.st_size, look.st_mtime))
    return tuple(found)


def remove_unnamed(store: Store, digest: str) -> str:
    """A person's word about one of them. Raises MODEL_NOT_FOUND if no such file is without a name,
    DISK_…."""
    known = [one.name for one in unnamed(store)]
    if digest not in known:
        raise RbeeError("MODEL_NOT_FOUND", model=digest[:200], nearest=known[:3])
    try:
        store.blob(digest).unlink()
    except OSError as exc:
        raise translated(exc, "write to", store.root) from exc
    return digest


def partials(store: Store) -> tuple[Leftover, ...]:
    """Downloads that are under way or can be resumed."""
    found = []
    for folder in sorted(path for path in store.partials.glob("*") if path.is_dir()):
        with suppress(FileNotFoundError):
            files = [one.stat() for one in folder.iterdir()]
            size_bytes = sum(one.st_blocks * 512 for one in files)
            touched_at = max((one.st_mtime for one in files), default=folder.stat().st_mtime)
            found.append(Leftover(folder.name, size_bytes, touched_at, _held(folder / "lock")))
    return tuple(found)


def collect_partials(store: Store, older_than_s: float = PARTIAL_S) -> tuple[Leftover, ...]:
    """Remove what nobody resumed in that time and nobody holds; gives what went."""
    now = time.time()
    gone = []
    for one in partials(store):
        folder = store.partials / one.name
        if now - one.touched_at > older_than_s:
            with _lock(folder / "lock") as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)
                    gone.append(one)
    return tuple(gone)


def _held(lock: Path) -> bool:
    """Whether a living process holds this lock."""
    with _lock(lock) as free:
        return not free


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Hold a lock for a moment; False: somebody else holds it. Without a file nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except BlockingIOError:
        free = False
    try:
        yield free
    finally:
        os.close(descriptor)
