"""A file on the web, by its address; a probe for one byte tells its size and its version."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, urlsplit, urlunsplit

from rbee.edge.web import Web, source_of
from rbee.errors import RbeeError
from rbee.models.names import Https, part_names
from rbee.models.sources import Found, Remote
from rbee.models.sources.asking import STALL_S, patiently
from rbee.policy.fetching import Fault, refusal, strong_etag
from rbee.wire.ranges import Span, content_length, parse_content_range

_FIRST_BYTE = Span(0, 1)


def resolve(name: Https, web: Web) -> Found:
    """The file at that address, and the others of its model, if it is one of several: they lie
    beside it. Raises SOURCE_…, DOWNLOAD_STALLED."""
    address = urlsplit(name.url)
    paths = part_names(address.path)
    remotes = []
    for path in paths:
        url = name.url if path == address.path else urlunsplit(address._replace(path=path))
        own_name = unquote(path).rsplit("/", 1)[-1]
        digest = name.digest if len(paths) == 1 else ""
        remotes.append(probe(web, Remote(url, 0, digest, name=own_name), model=name.name))
    return Found(name.ref, tuple(remotes))


def probe(web: Web, remote: Remote, *, model: str) -> Remote:
    """The file as it is now: its size, 0 if the source does not tell, and its validator.

    Raises SOURCE_…, SOURCE_BROKEN for a web page or an empty file, and DOWNLOAD_STALLED.
    """

    def ask() -> Remote | Fault:
        headers = {**remote.headers, "range": _FIRST_BYTE.header}
        with web.open(remote.url, headers, stall_s=STALL_S) as reply:
            if reply.status not in (200, 206):
                return refusal(reply.status, reply.headers)
            if "html" in reply.headers.get("content-type", "").lower():
                raise _broken(remote, model, "a web page is there, not a model file")
            size_bytes = content_length(reply.headers) or 0
            if reply.status == 206:
                found = parse_content_range(reply.headers.get("content-range", ""))
                if found is None or found.span != _FIRST_BYTE:
                    return Fault("SOURCE_BROKEN", "it does not give the part asked for", again=True)
                size_bytes = found.total_bytes or 0
            elif content_length(reply.headers) == 0:
                raise _broken(remote, model, "the file there is empty")
            return replace(remote, size_bytes=size_bytes, validator=strong_etag(reply.headers))

    return patiently(ask, model=model, url=remote.url)


def _broken(remote: Remote, model: str, problem: str) -> RbeeError:
    return RbeeError("SOURCE_BROKEN", model=model, source=source_of(remote.url), problem=problem)
