"""Every route of rbee and who answers it."""

from __future__ import annotations

from rbee.queen import (
    admin,
    attached_admin,
    inference,
    job_routes,
    keys,
    listing,
    store_admin,
)
from rbee.queen.answer import Dialect
from rbee.queen.job_routes import once
from rbee.queen.routes import Handler, Route


def _get(handler: Handler) -> Route:
    return Route({"GET": handler})


def _get_settled(handler: Handler) -> Route:
    return Route({"GET": handler}, settled=True)


def _public(handler: Handler) -> Route:
    return Route({"GET": handler}, public=True)


def _post(handler: Handler, dialect: Dialect = Dialect.OPENAI) -> Route:
    return Route({"POST": handler}, dialect, settled=True)


def _once(handler: Handler) -> Route:
    return Route({"POST": once(handler, journalled=True)}, once=True, settled=True)


def _admin(method: str, handler: Handler) -> Route:
    return Route({method: handler}, admin=True)


ROUTES: dict[str, Route] = {
    "/": _public(listing.root),
    "/health": _public(listing.health),
    "/ready": _public(listing.ready),
    "/metrics": _get(listing.metrics),
    "/openapi.json": _public(listing.openapi),
    "/v1/models": _get_settled(listing.models),
    "/v1/models/": _get_settled(listing.model),
    "/v1/chat/completions": _once(inference.chat),
    "/v1/completions": _once(inference.chat),
    "/v1/embeddings": _post(inference.embeddings),
    "/v1/responses": _post(once(inference.passed), Dialect.RESPONSES),
    "/v1/messages": _post(once(inference.passed), Dialect.ANTHROPIC),
    "/v1/messages/count_tokens": _post(inference.plain, Dialect.ANTHROPIC),
    "/v1/jobs": Route(
        {"GET": job_routes.every, "POST": job_routes.create}, once=True, settled=True
    ),
    "/v1/jobs/": Route({"GET": job_routes.one, "DELETE": job_routes.cancel}, settled=True),
    "/v1/rerank": _post(inference.plain),
    "/infill": _post(inference.passed, Dialect.NATIVE),
    "/completion": _post(inference.passed, Dialect.NATIVE),
    "/props": _get_settled(inference.props),
    "/tokenize": _post(inference.plain),
    "/detokenize": _post(inference.plain),
    "/apply-template": _post(inference.plain),
    "/rbee/status": _get(listing.rbee_status),
    "/rbee/ps": _get(listing.rbee_ps),
    "/rbee/models": _get_settled(listing.rbee_models),
    "/rbee/models/pull": _admin("POST", store_admin.pull),
    "/rbee/models/verify": _admin("POST", store_admin.verify),
    "/rbee/models/import": _admin("POST", store_admin.import_from),
    "/rbee/models/remove": _admin("POST", store_admin.remove),
    "/rbee/models/pin": _admin("POST", store_admin.pin),
    "/rbee/models/prune": _admin("POST", store_admin.prune),
    "/rbee/models/outdated": _admin("GET", store_admin.outdated),
    "/rbee/models/stock": _admin("GET", store_admin.stock),
    "/rbee/serve": _admin("POST", admin.serve),
    "/rbee/stop": _admin("POST", admin.stop),
    "/rbee/workers/attach": _admin("POST", attached_admin.attach),
    "/rbee/workers/detach": _admin("POST", attached_admin.detach),
    "/rbee/resume": _admin("POST", admin.resume),
    "/rbee/workers/drain": _admin("POST", admin.drain_worker),
    "/rbee/workers/": _admin("GET", admin.worker_logs),
    "/rbee/events": _admin("GET", admin.events),
    "/rbee/keys": _admin("GET", keys.listing),
    "/rbee/keys/create": _admin("POST", keys.create),
    "/rbee/keys/revoke": _admin("POST", keys.revoke),
    "/rbee/shutdown": _admin("POST", admin.shutdown),
}
