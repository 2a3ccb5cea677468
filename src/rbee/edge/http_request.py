"""Bytes into requests: llhttp does the grammar, this file the bounds and what llhttp lets pass.

llhttp (strict, as httptools builds it) refuses obs-fold, bare LF, CR and NUL in values,
Content-Length twice or beside Transfer-Encoding, and bad chunks. It lets pass, and this file
refuses: versions other than 1.0 and 1.1, transfer codings before `chunked`, Transfer-Encoding in
HTTP/1.0, no Host or two, fragments and undecodable paths in the target.

Memory is bounded by three counts: header bytes as they are told, body bytes as they are told, and
bytes fed since llhttp told anything of a body (an endless header name, chunk extension, trailer).

`Upgrade` is ignored, as RFC 9110 allows: java.net.http sends `Upgrade: h2c` with its first POST and
expects an ordinary answer. llhttp would drop the body there, so the head is read again without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import unquote_to_bytes

import httptools

from rbee.errors import RbeeError
from rbee.settings import Bounds

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMES = {
    form.encode(): name
    for name in (
        "host", "user-agent", "accept", "accept-encoding", "connection", "authorization",
        "content-type", "content-length", "x-api-key", "idempotency-key", "x-stainless-retry-count",
    )
    for form in (name, name.title())
}  # fmt: skip
"""Most headers of most requests, as clients write them: not to be decoded each time."""
_TLS = b"\x16\x03"
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)([/?].*)?\Z", re.IGNORECASE)


@dataclass(slots=True)
class Request:
    """A complete request. `path` is percent-decoded and without the query; header names are lower
    case; `admin` says that it came over the Unix socket, which only this user can open."""

    method: str
    target: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    admin: bool = False
    uid: int = -1
    """Of the user who sent it over the Unix socket, if the kernel says."""
    keep_alive: bool = True
    """Whether the client takes another answer on this connection."""
    http_1_0: bool = False
    """The client knows no chunks: a streamed answer ends with the connection."""
    _by_name: dict[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    def header(self, name: str) -> str | None:
        """The first value of the header, whose name is given in lower case."""
        if self._by_name is None:
            # A dozen are asked for on the way of one request.
            self._by_name = dict(reversed(self.headers))
        return self._by_name.get(name)


def malformed(reason: str) -> RbeeError:
    return RbeeError("HTTP_MALFORMED", problem=reason)


class _Refused(Exception):
    """Leaves a callback of llhttp; the reason is in `RequestReader._refusal`."""


class RequestReader:
    """The bytes of one connection, in order. `feed` appends to `completed`.

    After an error nothing more may be fed: nobody knows any longer where a request begins.
    """

    def __init__(self, bounds: Bounds, *, admin: bool) -> None:
        self.completed: list[Request] = []
        self.in_head = False
        self.in_body = False
        self.body_bytes = 0
        """Of the body that is being read."""
        self.wants_continue = False
        """The client waits for `100 Continue` before it sends the body."""
        self.told_of_request = False
        """A request has begun or ended since somebody last cleared this."""
        self._bounds = bounds
        self._admin = admin
        self.uid = -1
        self._parser = httptools.HttpRequestParser(self)
        self._refusal: RbeeError | None = None
        self._untold_bytes = 0
        self._told = False
        self._target = b""
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._headers: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._header_bytes_max = bounds.header_bytes
        self._header_count_max = bounds.header_count
        self._body: list[bytes] = []
        self._upgrading = False
        self._version = ""
        self._keep_alive = True
        self._parts: tuple[str, str, tuple[tuple[str, str], ...]] = ("", "", ())

    @property
    def partial(self) -> bool:
        """A request has begun and is not complete."""
        return self.in_head or self.in_body

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises HTTP_MALFORMED or REQUEST_TOO_LARGE."""
        self._told = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._read_without_upgrade(data[exc.args[0] :])
            return
        except httptools.HttpParserError as exc:
            if self._refusal is not None:
                raise self._refusal from exc
            if data.startswith(_TLS) and not self._target:
                raise malformed("they are TLS, and the address here begins with http://") from exc
            raise malformed(_plain(exc)) from exc
        self._untold_bytes = 0 if self._told else self._untold_bytes + len(data)
        if self._untold_bytes > self._bounds.header_bytes + self._bounds.target_bytes:
            raise self._too_large("head", self._bounds.header_bytes)

    def _read_without_upgrade(self, rest: bytes) -> None:
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise malformed("CONNECT is for proxies")
        lines = [b"%b %b HTTP/%b" % (method, self._target, self._version.encode())]
        lines += [f"{k}: {v}".encode("latin-1") for k, v in self._headers if k != "upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    # What llhttp tells, in the order of the bytes.

    def on_message_begin(self) -> None:
        self.told_of_request = True
        self.in_head = True
        self.in_body = False
        self.wants_continue = False
        self._upgrading = False
        self._target = b""
        self._raw_headers = []
        self._header_bytes = 0
        self._body = []
        self.body_bytes = 0

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > self._bounds.target_bytes:
            self._refuse(self._too_large("target", self._bounds.target_bytes))

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers count too, and are then dropped: nothing here reads them.
        self._header_bytes += len(name) + len(value) + 4
        self._raw_headers.append((name, value))
        if self._header_bytes > self._header_bytes_max:
            self._refuse(self._too_large("head", self._header_bytes_max))
        if len(self._raw_headers) > self._header_count_max:
            self._refuse(malformed(f"more than {self._header_count_max} headers"))

    def on_headers_complete(self) -> None:
        self._headers = [
            (_NAMES.get(name) or name.decode("latin-1").lower(), str(value, "latin-1").strip(" \t"))
            for name, value in self._raw_headers
        ]
        self._upgrading = self._parser.should_upgrade()
        self._version = self._parser.get_http_version()
        if self._upgrading:
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._parts = self._check_head()
        self.in_head = False
        self.in_body = True

    def on_body(self, part: bytes) -> None:
        self._told = True
        self.wants_continue = False
        self.body_bytes += len(part)
        if self.body_bytes > self._bounds.body_bytes:
            self._refuse(self._too_large("body", self._bounds.body_bytes))
        self._body.append(part)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._told = True
        self.told_of_request = True
        self.in_body = False
        self.wants_continue = False
        path, query, headers = self._parts
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            target=self._target.decode("ascii"),
            path=path,
            query=query,
            headers=headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            admin=self._admin,
            uid=self.uid,
            keep_alive=self._keep_alive,
            http_1_0=self._version == "1.0",
        )
        self._body = []
        self.completed.append(request)

    # What llhttp does not look at.

    def _check_head(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        if self._version not in ("1.1", "1.0"):
            self._refuse(malformed(f"version {self._version}"))
        hosts = 0
        has_body = expects = False
        for name, value in self._headers:
            if name == "host":
                hosts += 1
            elif name == "content-length":
                has_body = has_body or int(value) > 0
                if int(value) > self._bounds.body_bytes:
                    self._refuse(self._too_large("body", self._bounds.body_bytes))
            elif name == "transfer-encoding":
                has_body = True
                if value.lower() != "chunked" or self._version == "1.0":
                    self._refuse(malformed("a transfer coding other than chunked"))
            elif name == "expect":
                expects = value.lower() == "100-continue" and self._version == "1.1"
        if hosts > 1 or (hosts == 0 and self._version == "1.1"):
            self._refuse(malformed("it must have exactly one Host"))
        self.wants_continue = has_body and expects
        return self._check_target()

    def _check_target(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        target = self._target.decode("ascii", "replace")
        headers = tuple(self._headers)
        if not target.startswith("/"):
            target, headers = self._other_form(target, headers)
        path, _, query = target.partition("?")
        if "#" in target:
            self._refuse(malformed("a fragment in the target"))
        if "%" in path:
            path = self._decode(path)
        return path, query, headers

    def _other_form(
        self, target: str, headers: tuple[tuple[str, str], ...]
    ) -> tuple[str, tuple[tuple[str, str], ...]]:
        """`*`, or an absolute target: its authority replaces the Host header (RFC 9112 3.2.2)."""
        if target == "*" and self._parser.get_method() == b"OPTIONS":
            return target, headers
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            self._refuse(malformed("the target is neither a path nor an http address"))
        kept = tuple(pair for pair in headers if pair[0] != "host")
        rest = absolute[2] or "/"
        return (rest if rest.startswith("/") else "/" + rest), (("host", absolute[1]), *kept)

    def _decode(self, path: str) -> str:
        if _BAD_PERCENT.search(path):
            self._refuse(malformed("a % in the path without two hex digits"))
        try:
            decoded = unquote_to_bytes(path).decode("utf-8")
        except UnicodeDecodeError:
            self._refuse(malformed("the path is not UTF-8"))
        if _CONTROL.search(decoded):
            self._refuse(malformed("a control character in the path"))
        return decoded

    def _refuse(self, error: RbeeError) -> NoReturn:
        self._refusal = error
        raise _Refused

    def _too_large(self, part: str, limit_bytes: int) -> RbeeError:
        return RbeeError("REQUEST_TOO_LARGE", part=part, limit_bytes=limit_bytes)


def _plain(exc: Exception) -> str:
    """llhttp's reason, as the rest of a sentence."""
    reason = str(exc).replace("`", "").rstrip(".")
    return reason[:1].lower() + reason[1:] if reason else "it cannot be read"
