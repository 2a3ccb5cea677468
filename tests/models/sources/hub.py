"""Hugging Face as far as its library asks it: what a repository holds, and the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import quote

from tests.file_server import Answer, Asked, FileServer

COMMIT = "c0ffee" + "0" * 34
REPO = "org/Tiny-GGUF"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listing(files: Mapping[str, bytes], **more: object) -> dict[str, object]:
    """As the hub tells it: large files with their sha256, small ones without."""
    siblings = [
        {
            "rfilename": path,
            "size": len(data),
            "blobId": "0" * 40,
            "lfs": {"sha256": digest(data), "size": len(data), "pointerSize": 130},
        }
        for path, data in files.items()
    ]
    readme = {"rfilename": "README.md", "size": 5, "blobId": "1" * 40}
    return {"id": REPO, "sha": COMMIT, "gated": False, "siblings": [readme, *siblings], **more}


def hold(server: FileServer, files: Mapping[str, bytes], revision: str = "", **more: object) -> str:
    """Have it hold these files; gives the path where the repository is described."""
    described = f"/api/models/{REPO}" + (f"/revision/{revision}" if revision else "")
    server.files[described] = json.dumps(listing(files, **more)).encode()
    for path, data in files.items():
        server.files[f"/{REPO}/resolve/{COMMIT}/{quote(path)}"] = data
    return described


def refusing(status: int, path: str = "/", **headers: str):
    """A fault: whatever lies below `path` is refused, in the hub's way."""

    def act(asked: Asked, answer: Answer) -> None:
        if asked.path.startswith(path):
            answer.status, answer.body = status, b'{"error": "no"}'
            answer.headers = {"content-type": "application/json"}
            answer.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    return act
