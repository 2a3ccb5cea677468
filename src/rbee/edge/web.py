"""The web, for downloads: bodies streamed, nothing asked twice, no key in a foreign hand.

urllib3 carries the bytes. Its retries and redirects are off: retries have one owner
(`policy.fetching`), and redirects are followed here by hand, so that credentials go to the origin
(scheme, host, port) that they are meant for and to no other. Proxies (`HTTPS_PROXY`, `NO_PROXY` …)
and the CA bundle (`SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `PIP_CERT`) are those of
the environment.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as WebTimeout

from rbee.errors import RbeeError
from rbee.settings import Timing
from rbee.version import VERSION

REDIRECTS = 5
_REDIRECT = frozenset({301, 302, 303, 307, 308})
_FOR_ANYBODY = frozenset({"accept", "range", "if-range"})
"""Headers that say nothing about us: all others stay with the origin that they are meant for."""
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
"""Besides SSL_CERT_FILE, which OpenSSL knows itself."""
_DRAINED_BYTES = 4096
"""Read of a body that nobody wants, so that its connection can be used again."""
_CONNECTIONS = 8

_Failure = HTTPError | HTTPException | OSError | ValueError
_FAILURES = (HTTPError, HTTPException, OSError, ValueError)


class Reply:
    """An answer whose body is still to come. `headers` have lower-case names."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, trouble: _Trouble) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in response.headers.items()}
        self.url = url
        """Where the answer came from, after all redirects."""
        self._response = response
        self._trouble = trouble
        self._ended = False

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, at most so many, as soon as there are any; empty at the end.

        Raises SOURCE_UNREACHABLE if the connection breaks, DOWNLOAD_STALLED if nothing comes.
        """
        try:
            data = self._response.read1(size_bytes, decode_content=False)
        except _FAILURES as exc:
            raise self._trouble.told(exc, self.url) from exc
        self._ended = not data
        return data

    def abort(self) -> None:
        """End a `read` that another thread is in; it raises or gives what it has."""
        with suppress(ValueError, OSError):
            self._response.shutdown()

    def leave(self) -> None:
        """Give the connection back if the body was read to its end, else close it. A short rest is
        read for that; a long one is worth no wait."""
        left = 0 if self._ended else getattr(self._response, "length_remaining", None)
        with suppress(*_FAILURES):
            if left is None or left > _DRAINED_BYTES:
                self._response.close()
            else:
                # Also of a body without a byte: http.client takes an answer as over once its end
                # was read, and until then asks nothing more on the connection.
                self._response.read()
            self._response.release_conn()


class Web:
    """Connections to sources of models; safe to use from several threads.

    `model` is named in the errors that are raised here.
    """

    def __init__(self, model: str, timing: Timing) -> None:
        self.model = model
        self.stall_s = timing.download_stall_s
        """What a person set as the longest silence, for those who ask by other means."""
        self._connect_s = timing.connect_web_s
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._tls: ssl.SSLContext | None = None

    @contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None, *, stall_s: float
    ) -> Iterator[Reply]:
        """GET; the answer is given as soon as its head is in, whatever its status.

        `headers` go to the origin of `url` alone, but for those that say nothing about us.
        `stall_s`: the longest silence. At most 5 redirects are followed, none from https to http.
        Raises SOURCE_UNREACHABLE (no connection, or it broke), DOWNLOAD_STALLED, and SOURCE_BROKEN
        for redirects without end or to where nobody should go.
        """
        trouble = _Trouble(self.model, stall_s, source_of(url))
        reply = self._follow(url, dict(headers or {}), trouble)
        try:
            yield reply
        finally:
            reply.leave()

    def _follow(self, url: str, headers: Mapping[str, str], trouble: _Trouble) -> Reply:
        origin = _origin(url)
        for _ in range(REDIRECTS + 1):
            allowed = {
                name: value
                for name, value in headers.items()
                if _origin(url) == origin or name.lower() in _FOR_ANYBODY
            }
            reply = Reply(self._ask(url, allowed, trouble), url, trouble)
            target = reply.headers.get("location")
            if reply.status not in _REDIRECT or target is None:
                return reply
            reply.leave()
            url = self._next(url, target, trouble)
        raise trouble.broken(f"it redirects more than {REDIRECTS} times")

    def _next(self, url: str, target: str, trouble: _Trouble) -> str:
        try:
            found = urljoin(url, target)
            scheme, host, _ = _origin(found)
        except ValueError as exc:
            raise trouble.broken("it redirects to what is no address") from exc
        if scheme not in ("http", "https") or not host:
            raise trouble.broken("it redirects to what is no web address")
        if scheme == "http" and _origin(url)[0] == "https":
            raise trouble.broken("it redirects from https to http")
        return found

    def _ask(
        self, url: str, headers: Mapping[str, str], trouble: _Trouble
    ) -> urllib3.BaseHTTPResponse:
        sent = {
            "accept": "*/*",
            **{name.lower(): value for name, value in headers.items()},
            "accept-encoding": "identity",
            "user-agent": f"rbee/{VERSION}",
        }
        try:
            return self._pool(url).request(
                "GET",
                url,
                headers=sent,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._connect_s, read=trouble.stall_s),
            )
        except _FAILURES as exc:
            raise trouble.told(exc, url) from exc

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy_of(urlsplit(url))
        with self._lock:
            if proxy not in self._pools:
                self._tls = self._tls or _trust()
                self._pools[proxy] = _pool(proxy, self._tls)
            return self._pools[proxy]


class _Trouble:
    """Foreign exceptions in our words, told once: here."""

    def __init__(self, model: str, stall_s: float, source: str) -> None:
        self.stall_s = stall_s
        self._model = model
        self._source = source

    def told(self, error: _Failure, url: str) -> RbeeError:
        host = source_of(url)
        if isinstance(error, WebTimeout) and "read" in type(error).__name__.lower():
            return RbeeError(
                "DOWNLOAD_STALLED", model=self._model, source=self._source, limit_s=self.stall_s
            )
        via = "" if host == self._source else f"{host}, where it sends us: "
        return RbeeError(
            "SOURCE_UNREACHABLE",
            model=self._model,
            source=self._source,
            problem=via + _words(error),
        )

    def broken(self, problem: str) -> RbeeError:
        return RbeeError("SOURCE_BROKEN", model=self._model, source=self._source, problem=problem)


def source_of(url: str) -> str:
    """A URL as it is told to people: its host, and no path, which may hold keys."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "the source"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", parts.port or default


def _words(error: _Failure) -> str:
    """What broke, without addresses of memory and without URLs."""
    if isinstance(error, ProxyError):
        return "the proxy refuses or cannot be reached"
    if isinstance(error, SSLError | ssl.SSLError):
        reason = getattr(error.args[0] if error.args else error, "verify_message", "")
        return f"its certificate is not trusted ({reason})" if reason else "TLS failed"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, WebTimeout):
        return "no connection in time"
    return "the connection was cut" if isinstance(error, HTTPError) else "no answer of HTTP came"


def _trust() -> ssl.SSLContext:
    """The certificates of the system, or of the bundle that the environment names instead."""
    bundle = next((found for name in _BUNDLES if (found := os.environ.get(name))), None)
    if bundle is None or os.environ.get("SSL_CERT_FILE"):
        return ssl.create_default_context()
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def _proxy_of(parts: SplitResult) -> str:
    """The proxy for a URL as the environment has it; empty: none."""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    if not proxy or proxy_bypass(host):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _pool(proxy: str, tls: ssl.SSLContext) -> urllib3.PoolManager:
    if not proxy:
        return urllib3.PoolManager(maxsize=_CONNECTIONS, ssl_context=tls)
    parts = urlsplit(proxy)
    headers = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login)
    return urllib3.ProxyManager(proxy, maxsize=_CONNECTIONS, ssl_context=tls, proxy_headers=headers)
