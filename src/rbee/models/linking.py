"""Files of somebody else become a model: read once, checked, and linked, not copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rbee.edge.disk import identity, translated
from rbee.errors import RbeeError
from rbee.models import gguf, names
from rbee.models.hashing import Progress, hash_file
from rbee.models.manifest import Piece
from rbee.models.store import Store, piece_of


def parts_of(path: Path) -> tuple[Path, ...]:
    """All files of the model that this one belongs to, in order, as their names say; most models
    have one."""
    return tuple(path.with_name(name) for name in names.part_names(path.name))


def is_later_part(path: Path) -> bool:
    """Whether another file of the same model comes before this one."""
    return parts_of(path)[0].name.lower() != path.name.lower()


def looked_at(
    paths: Sequence[Path], *, model: str, progress: Progress
) -> tuple[tuple[Piece, ...], gguf.Facts]:
    """The files as a manifest names them, and what they say of themselves.

    Raises MODEL_FILE_MISSING, MODEL_CORRUPTED, DISK_….
    """
    facts, pieces = [], []
    total_bytes = done_bytes = 0
    try:
        for path in paths:
            if not path.is_file():
                raise RbeeError("MODEL_FILE_MISSING", model=model, path=str(path))
            facts.append(gguf.read_facts(path, model=model))
            total_bytes += path.stat().st_size

        def tell(phase: str, of_file_bytes: int, _: int) -> None:
            progress(phase, done_bytes + of_file_bytes, total_bytes)

        for path in paths:
            before = identity(path)
            hashed = hash_file(path, before.size_bytes, tell)
            done_bytes += hashed.size_bytes
            pieces.append(piece_of(hashed, before, path.name if len(paths) > 1 else ""))
    except OSError as exc:
        raise translated(exc, "read", path) from exc
    return tuple(pieces), gguf.joined(facts, model=model)


def point(store: Store, digest: str, path: Path, progress: Progress) -> None:
    """The blob of that digest leads to the file that has it now: the one that it led to may have
    changed since. A file of the store's own stays, if it is still what it was. Raises DISK_…."""
    blob = store.blob(digest)
    try:
        if not blob.is_symlink() and blob.exists():
            hashed = hash_file(blob, blob.stat().st_size, progress)
            if hashed.digest == digest:
                return
        blob.unlink(missing_ok=True)
        blob.symlink_to(path.absolute())
    except OSError as exc:
        raise translated(exc, "write to", blob) from exc
