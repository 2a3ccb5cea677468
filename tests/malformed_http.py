"""Requests that are wrong, one idea each, with the code that each must get.

They are kept as bytes, so that any test can send them to any server of ours.
"""

from __future__ import annotations

from typing import NamedTuple

from rbee.settings import Bounds

SMALL = Bounds(
    body_bytes=1000, header_bytes=2000, header_count=20, target_bytes=500, connections=50
)
"""The bounds that the list is written for: small, so that exceeding them is cheap."""


class Malformed(NamedTuple):
    """`shut`: our side is closed after sending, because the fault is that nothing follows."""

    name: str
    data: bytes
    code: str = "HTTP_MALFORMED"
    shut: bool = False


def _get(*lines: bytes, target: bytes = b"/", host: bytes = b"Host: a\r\n") -> bytes:
    return (
        b"GET " + target + b" HTTP/1.1\r\n" + host + b"".join(x + b"\r\n" for x in lines) + b"\r\n"
    )


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: a\r\n" + b"".join(x + b"\r\n" for x in lines)
    return head + b"\r\n" + body


_CHUNKED = b"Transfer-Encoding: chunked"

MALFORMED = (
    Malformed("garbage", b"\x00\xff\xfe garbage \r\n\r\n"),
    Malformed("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    Malformed("SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n"),
    Malformed("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Malformed("HTTP/0.9", b"GET /\r\n\r\n"),
    Malformed("version 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    Malformed("version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    Malformed("version 9999", b"GET / HTTP/9999.1\r\nHost: a\r\n\r\n"),
    Malformed("version in small letters", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    Malformed("no version, headers", b"GET /\r\nHost: a\r\n\r\n"),
    Malformed("method in small letters", b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("unknown method", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("method of 4 KB", b"G" * 4096 + b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("NUL in the method", b"GE\x00T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("relative target", b"GET v1/models HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("tab in the target", b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("NUL in the target", b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("raw UTF-8 in the target", "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode()),
    Malformed("fragment", _get(target=b"/a#b")),
    Malformed("% without digits", _get(target=b"/a%zz")),
    Malformed("% at the end", _get(target=b"/a%4")),
    Malformed("path that is no UTF-8", _get(target=b"/%ff%fe")),
    Malformed("overlong UTF-8 slash", _get(target=b"/%c0%af")),
    Malformed("NUL in the path", _get(target=b"/a%00b")),
    Malformed("line break in the path", _get(target=b"/a%0d%0ab")),
    Malformed("target too long", _get(target=b"/" + b"a" * 600), "REQUEST_TOO_LARGE"),
    Malformed("* with GET", _get(target=b"*")),
    Malformed("foreign scheme", _get(target=b"ftp://a/b")),
    Malformed("scheme without a host", _get(target=b"http:///b")),
    Malformed("user in the target", _get(target=b"http://u:p@a/b")),
    Malformed("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    Malformed("no Host", _get(host=b"")),
    Malformed("two Hosts", _get(b"Host: b")),
    Malformed("bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    Malformed("bare CR", b"GET / HTTP/1.1\rHost: a\r\r"),
    Malformed("CR in a value", _get(b"X: a\rb")),
    Malformed("NUL in a value", _get(b"X: a\x00b")),
    Malformed("control in a value", _get(b"X: a\x01b")),
    Malformed("folded header", _get(b"X: a", b" b")),
    Malformed("folded first header", b"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n"),
    Malformed("header without a colon", _get(b"Nonsense")),
    Malformed("header without a name", _get(b": a")),
    Malformed("space before the colon", _get(b"X : a")),
    Malformed("bracket in a name", _get(b"X(y): a")),
    Malformed("header too long", _get(b"X: " + b"a" * 3000), "REQUEST_TOO_LARGE"),
    Malformed("header name too long", _get(b"X" * 3000 + b": a"), "REQUEST_TOO_LARGE"),
    Malformed("endless header", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, "REQUEST_TOO_LARGE"),
    Malformed("headers too many", _get(*[b"X: a"] * 30)),
    Malformed("headers too much", _get(*[b"X: " + b"a" * 150] * 15), "REQUEST_TOO_LARGE"),
    Malformed("length not a number", _post(b"Content-Length: ten")),
    Malformed("length negative", _post(b"Content-Length: -1")),
    Malformed("length with a plus", _post(b"Content-Length: +1", body=b"a")),
    Malformed("length in hex", _post(b"Content-Length: 0x1", body=b"a")),
    Malformed("length empty", _post(b"Content-Length:")),
    Malformed("length beyond 64 bits", _post(b"Content-Length: 99999999999999999999999")),
    Malformed("length too large", _post(b"Content-Length: 1001"), "REQUEST_TOO_LARGE"),
    Malformed("two lengths", _post(b"Content-Length: 1", b"Content-Length: 2", body=b"ab")),
    Malformed("two equal lengths", _post(b"Content-Length: 1", b"Content-Length: 1", body=b"a")),
    Malformed("list of lengths", _post(b"Content-Length: 1, 1", body=b"a")),
    Malformed("length, then chunked", _post(b"Content-Length: 3", _CHUNKED, body=b"0\r\n\r\n")),
    Malformed("chunked, then length", _post(_CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n")),
    Malformed("coding unknown", _post(b"Transfer-Encoding: gzip")),
    Malformed("coding before chunked", _post(b"Transfer-Encoding: gzip, chunked")),
    Malformed("coding after chunked", _post(b"Transfer-Encoding: chunked, gzip")),
    Malformed("chunked twice", _post(_CHUNKED, _CHUNKED)),
    Malformed("chunked in disguise", _post(b"Transfer-Encoding: xchunked")),
    Malformed("chunked after a control", _post(b"Transfer-Encoding: \x0bchunked")),
    Malformed("chunked in 1.0", b"POST / HTTP/1.0\r\n" + _CHUNKED + b"\r\n\r\n0\r\n\r\n"),
    Malformed("chunk size not hex", _post(_CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n")),
    Malformed("chunk size negative", _post(_CHUNKED, body=b"-1\r\nabc\r\n")),
    Malformed("chunk size beyond 64 bits", _post(_CHUNKED, body=b"f" * 17 + b"\r\nabc")),
    Malformed("chunk longer than said", _post(_CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n")),
    Malformed("chunk with a bare LF", _post(_CHUNKED, body=b"3\nabc\n0\n\n")),
    Malformed(
        "chunks too large",
        _post(_CHUNKED, body=b"1f4\r\n" + b"a" * 500 + b"\r\n3e8\r\n" + b"a" * 1000),
        "REQUEST_TOO_LARGE",
    ),
    Malformed(
        "endless chunk extension", _post(_CHUNKED, body=b"3;" + b"a" * 50_000), "REQUEST_TOO_LARGE"
    ),
    Malformed(
        "endless trailer", _post(_CHUNKED, body=b"0\r\nT: " + b"a" * 50_000), "REQUEST_TOO_LARGE"
    ),
    Malformed("trailers too many", _post(_CHUNKED, body=b"0\r\n" + b"T: a\r\n" * 40 + b"\r\n")),
    Malformed("cut in the request line", b"GET / HT", shut=True),
    Malformed("cut in the headers", b"GET / HTTP/1.1\r\nHost: a\r\n", shut=True),
    Malformed("cut in the body", _post(b"Content-Length: 10", body=b"abc"), shut=True),
    Malformed("cut in a chunk", _post(_CHUNKED, body=b"5\r\nabc"), shut=True),
    Malformed("cut before the last chunk", _post(_CHUNKED, body=b"3\r\nabc\r\n"), shut=True),
)
