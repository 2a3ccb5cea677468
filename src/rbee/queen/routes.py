"""From a complete HTTP request to the coroutine that answers it: the table of all routes.

Here a caller is checked (Host, Origin, content type, admin acts), and every RbeeError that a
handler raises becomes an answer. Handlers stand in `inference`, `listing` and `admin`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbee.edge.http_server import Exchange
from rbee.errors import RbeeError
from rbee.policy import access, keys, ratelimit
from rbee.policy.keys import NOBODY, OWNER, Caller
from rbee.queen.answer import Answer, Dialect
from rbee.queen.core import Core
from rbee.wire.keys import ADMIN, INFER

Handler = Callable[["Visit"], Awaitable[None]]

_CORS_HEADERS = (
    "authorization, content-type, x-api-key, x-request-timeout, x-rbee-events, x-rbee-quiet, "
    "x-rbee-exact, x-rbee-priority, x-request-id, idempotency-key, last-event-id, "
    "anthropic-version, anthropic-beta, openai-organization, openai-project, "
    "x-stainless-arch, x-stainless-lang, x-stainless-os, x-stainless-package-version, "
    "x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, "
    "x-stainless-timeout, x-stainless-read-timeout, x-stainless-async, x-stainless-helper-method"
)
"""`*` does not cover Authorization, and SDKs in browsers send x-stainless-*."""

_EXPOSED = (
    "x-request-id, x-rbee-job, retry-after, x-should-retry, x-rbee-degraded, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)


@dataclass(frozen=True, slots=True)
class Route:
    """A path, and what answers each of its methods."""

    methods: dict[str, Handler]
    dialect: Dialect = Dialect.OPENAI
    admin: bool = False
    """Open on the admin socket, and to a key with the role `admin`."""
    public: bool = False
    """Open without a key."""
    once: bool = False
    """An Idempotency-Key is held to; everywhere else a POST that brings one is refused."""
    settled: bool = False
    """It speaks of models or jobs: a queen that has just begun opens its journal and meets its hive
    before it says what there is."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request on its way: what came, and the answer that it is owed."""

    core: Core
    exchange: Exchange
    answer: Answer
    rest: str = ""
    """What follows the prefix, for routes that end in `/`."""
    caller: Caller = NOBODY
    deed: dict[str, str] = field(default_factory=dict)
    """Of an act of administration: what the log of acts cannot read from the request."""

    def header(self, name: str) -> str | None:
        return self.exchange.request.header(name)

    def enter(self, body: Mapping[str, Any]) -> None:
        """Take what this request costs of its key's limits. Raises RATE_LIMITED."""
        if not self.caller.limits.bounded:
            return
        core, answer = self.core, self.answer
        now = core.clock()
        size_bytes = len(self.exchange.request.body)
        try:
            answer.place = core.allowances.enter(
                self.caller, lambda: ratelimit.estimate(size_bytes, body), now
            )
        finally:
            answer.extra_headers(core.allowances.headers(self.caller, now))


class Router:
    """Hands each exchange to its route, as a task that ends with the client."""

    def __init__(self, core: Core, routes: dict[str, Route]) -> None:
        self._core = core
        self._routes = routes
        self._prefixes = tuple(path for path in routes if path.endswith("/") and path != "/")
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, exchange: Exchange) -> None:
        """Called by the HTTP server with each complete request."""
        task = asyncio.create_task(self._visit(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        exchange.on_closed = lambda: _cancel(task)

    def end_all(self) -> None:
        """Cancel what still runs: each stream ends with SHUTTING_DOWN."""
        for task in self._tasks:
            task.cancel()

    @property
    def running(self) -> int:
        return len(self._tasks)

    async def _visit(self, exchange: Exchange) -> None:
        job_id = "job_" + secrets.token_hex(16)
        path = exchange.request.path
        route, rest = self._find(path)
        dialect = route.dialect if route is not None else Dialect.OPENAI
        answer = Answer(exchange, job_id=job_id, dialect=dialect, headers=())
        try:
            cors = self._check_caller(exchange)
            self._prepare(answer, exchange, cors)
            if exchange.request.method == "OPTIONS":
                self._preflight(exchange, cors)
                return
            if route is None:
                raise RbeeError("ROUTE_NOT_FOUND", path=path[:200])
            caller = self._caller(exchange, route)
            handler = self._allowed(exchange, route)
            if route.settled and not self._core.met.is_set():
                await self._core.settle()
            visit = Visit(self._core, exchange, answer, rest, caller)
            if route.admin and exchange.request.method == "POST":
                await self._act(visit, handler)
            else:
                await handler(visit)
        except RbeeError as error:
            self._core.counters.refused[error.code] += 1
            answer.fail(error, spent=False)
        except asyncio.CancelledError:
            if not exchange.closed and not answer.finished:
                answer.fail(RbeeError("SHUTTING_DOWN"))
        except Exception as exc:
            self._core.mistake(exc, job_id)
            answer.fail(RbeeError("INTERNAL", problem=type(exc).__name__))
        finally:
            if answer.place is not None:
                answer.place.leave(self._core.clock(), served=answer.delivered)

    async def _act(self, visit: Visit, handler: Handler) -> None:
        """An act of administration: done, and written down with how it ended."""
        result, exchange = "ok", visit.exchange
        try:
            await handler(visit)
        except RbeeError as error:
            result = error.code
            raise
        except BaseException as exc:
            result = "CANCELLED" if isinstance(exc, asyncio.CancelledError) else "INTERNAL"
            raise
        finally:
            result = visit.deed.pop("result", result)
            self._core.audit.asked(exchange.request, self._key_of(visit), visit.deed, result)

    def _key_of(self, visit: Visit) -> str:
        """`abcd1234 (laptop)`; empty: this machine's own user."""
        id_ = visit.caller.key_id
        record = self._core.keys.records.get(id_)
        return f"{id_} ({record.name})" if record is not None and record.name else id_

    def _find(self, path: str) -> tuple[Route | None, str]:
        route = self._routes.get(path)
        if route is not None:
            return route, ""
        for prefix in self._prefixes:
            if path.startswith(prefix) and len(path) > len(prefix):
                return self._routes[prefix], path[len(prefix) :]
        return None, ""

    def _check_caller(self, exchange: Exchange) -> str:
        """The Origin to allow. Raises HOST_FORBIDDEN or ORIGIN_FORBIDDEN."""
        request = exchange.request
        if request.admin:
            return ""
        settings = self._core.settings
        found = access.check(
            request.header("host") or "",
            request.header("origin"),
            origins=settings.origins,
            bound=settings.host,
        )
        if isinstance(found, access.HostForbidden):
            raise RbeeError("HOST_FORBIDDEN", host=found.host)
        if isinstance(found, access.OriginForbidden):
            raise RbeeError("ORIGIN_FORBIDDEN", origin=found.origin)
        return found.origin

    def _caller(self, exchange: Exchange, route: Route) -> Caller:
        """Who calls. Raises KEY_MISSING, KEY_INVALID, KEY_EXPIRED, KEY_REVOKED, KEY_ROLE, or
        ADMIN_ONLY where there are no keys."""
        request, core = exchange.request, self._core
        if request.admin:
            return OWNER
        if route.public:
            return NOBODY
        if not core.key_needed:
            if route.admin:
                raise RbeeError("ADMIN_ONLY", path=request.path[:200])
            return NOBODY
        given = keys.presented(request.header("authorization"), request.header("x-api-key"))
        found = keys.judge(given, core.keys.records, now=time.time())
        if isinstance(found, keys.Refused):
            raise RbeeError(found.code, **found.facts)
        role = ADMIN if route.admin else INFER
        if not keys.may(found, role):
            raise RbeeError("KEY_ROLE", key=found.key_id, path=request.path[:200], role=role)
        return found

    def _allowed(self, exchange: Exchange, route: Route) -> Handler:
        request = exchange.request
        method = "GET" if request.method == "HEAD" else request.method
        handler = route.methods.get(method)
        if handler is None:
            raise RbeeError(
                "METHOD_NOT_ALLOWED",
                path=request.path[:200],
                method=request.method[:20],
                allowed=sorted(route.methods),
            )
        if method == "POST":
            if not route.once and request.header("idempotency-key") is not None:
                raise _kept_nowhere(request.path)
            kind = (request.header("content-type") or "").split(";")[0].strip().lower()
            if kind != "application/json":
                raise RbeeError("CONTENT_TYPE_REFUSED", content_type=kind[:100] or "of no type")
        if self._core.stopping:
            raise RbeeError("SHUTTING_DOWN")
        return handler

    @staticmethod
    def _prepare(answer: Answer, exchange: Exchange, origin: str) -> None:
        """What every answer to this caller says."""
        if origin:
            answer.extra_header("access-control-allow-origin", origin)
            answer.extra_header("access-control-expose-headers", _EXPOSED)
            answer.extra_header("vary", "origin")
        answer.typed_events = exchange.request.header("x-rbee-events") == "1"

    @staticmethod
    def _preflight(exchange: Exchange, origin: str) -> None:
        headers = [("allow", "GET, HEAD, POST, DELETE, OPTIONS")]
        if origin:
            headers += [
                ("access-control-allow-origin", origin),
                ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
                ("access-control-allow-headers", _CORS_HEADERS),
                ("access-control-max-age", "600"),
                ("vary", "origin"),
            ]
        exchange.respond(204, headers, b"")


def _kept_nowhere(path: str) -> RbeeError:
    """A client that brings the key must not believe that its request runs once."""
    problem = (
        f"Idempotency-Key is not possible on {path[:200]}: send the request without it, "
        "or ask /v1/chat/completions or /v1/completions"
    )
    return RbeeError("INVALID_REQUEST", problem=problem, param="Idempotency-Key")


def _cancel(task: asyncio.Task[None]) -> None:
    """The client hung up: everything that was done for it ends."""
    task.cancel()
