"""What a name stands for at its source, whatever its kind."""

from __future__ import annotations

from dataclasses import replace

from rbee.edge.web import Web, source_of
from rbee.errors import RbeeError
from rbee.models import names
from rbee.models.manifest import digest_of
from rbee.models.sources import Found, hf, https, ollama, pypi


def resolve(name: str | names.Name, web: Web) -> Found | None:
    """The files of that name as they are there now; None: it is nothing that a source has (a
    person's file, a name of the catalogue).

    A name that pins a digest stands for that version alone; of a wheel's member only its bytes can
    tell. Raises MODEL_NAME_INVALID, SOURCE_…,
    DOWNLOAD_STALLED.
    """
    parsed = names.parse(name) if isinstance(name, str) else name
    match parsed:
        case names.Hf():
            found = hf.resolve(parsed, web)
        case names.Ollama():
            found = ollama.resolve(parsed, web)
        case names.Wheel():
            return pypi.resolve(parsed, web)
        case names.Https():
            return https.resolve(parsed, web)
        case names.Plain() | names.File():
            return None
    return pinned(found, parsed.digest, model=parsed.name) if parsed.digest else found


def pinned(found: Found, digest: str, *, model: str) -> Found:
    """What is there, if it may be what has that digest. Raises SOURCE_NOT_FOUND if it is not."""
    digests = [file.digest for file in found.files]
    if all(digests):
        if digest_of(digests) != digest:
            problem = f"it has {digest_of(digests)} under this name now, and {digest} is wanted"
            source = source_of(found.files[0].url)
            raise RbeeError("SOURCE_NOT_FOUND", model=model, source=source, problem=problem)
        return found
    if len(found.files) > 1:
        # They vouch for each other when all are here.
        return found
    return replace(found, files=(replace(found.files[0], digest=digest),))
