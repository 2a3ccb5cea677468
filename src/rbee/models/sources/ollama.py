"""Models of Ollama's registry, or of any that speaks the protocol of container registries.

A tag names a manifest, which lists layers by digest; the layer that is a GGUF is the model. A
registry that wants a token says where one is given, also to those whom it does not know.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlencode, urlsplit

import msgspec

from rbee.edge.web import Reply, Web, source_of
from rbee.errors import RbeeError
from rbee.models.names import Ollama, is_loopback
from rbee.models.sources import Found, Remote
from rbee.models.sources.asking import STALL_S, fetch_small, patiently, small_body
from rbee.policy.fetching import Fault, refusal
from rbee.wire.unreadable import UNREADABLE

REGISTRY = "registry.ollama.ai"
_MODEL = "application/vnd.ollama.image.model"
_ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.manifest.v1+json"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FIELD = re.compile(r'([a-z]+)="([^"]*)"')
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")


class _Layer(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str
    size: int


class _Manifest(msgspec.Struct, frozen=True):
    layers: tuple[_Layer, ...]


class _Given(msgspec.Struct, frozen=True):
    """A token, under either of the names that registries use."""

    token: str = ""
    access_token: str = ""


@dataclass(frozen=True, slots=True)
class _Challenge:
    """Where a token is given."""

    url: str


def resolve(name: Ollama, web: Web) -> Found:
    """The layer of that tag that is the model. Raises SOURCE_…, DOWNLOAD_STALLED."""
    host = name.host or REGISTRY
    scheme = "http" if is_loopback(host.partition(":")[0]) else "https"
    base = f"{scheme}://{host}/v2/{name.namespace}/{name.model}"
    return _Asking(name, f"{base}/manifests/{name.tag}", web).found(f"{base}/blobs/")


class _Asking:
    """One look at a registry."""

    def __init__(self, name: Ollama, url: str, web: Web) -> None:
        self._name = name
        self._url = url
        self._web = web
        self._key: Mapping[str, str] = MappingProxyType({})

    def found(self, blobs: str) -> Found:
        """`blobs`: where the layers are."""
        body = self._manifest()
        try:
            layers = msgspec.json.decode(body, type=_Manifest).layers
        except UNREADABLE as exc:
            raise self._error("SOURCE_BROKEN", "its manifest cannot be read") from exc
        models = [layer for layer in layers if layer.media_type == _MODEL]
        if not models:
            raise self._error("SOURCE_NOT_FOUND", "it is there, but not as a GGUF file")
        if len(models) > 1:
            raise self._error("SOURCE_BROKEN", "its manifest names several model files")
        layer = models[0]
        if _DIGEST.fullmatch(layer.digest) is None or layer.size <= 0:
            raise self._error("SOURCE_BROKEN", "its manifest names no digest and size")
        remote = Remote(blobs + layer.digest, layer.size, layer.digest, headers=self._key)
        revision = "sha256:" + hashlib.sha256(body).hexdigest()
        return Found(self._name.ref, (remote,), revision)

    def _manifest(self) -> bytes:
        """As it came: what it is called by is its digest."""
        body = patiently(self._ask, model=self._name.name, url=self._url)
        if isinstance(body, _Challenge):
            self._key = self._token(body.url)
            body = patiently(self._ask, model=self._name.name, url=self._url)
        assert isinstance(body, bytes)
        return body

    def _ask(self) -> bytes | _Challenge | Fault:
        headers = {**self._key, "accept": _ACCEPT}
        with self._web.open(self._url, headers, stall_s=STALL_S) as reply:
            if reply.status == 200:
                return small_body(reply)
            if reply.status == 404:
                return Fault("SOURCE_NOT_FOUND", "there is no such name and tag", again=False)
            challenge = None if self._key else _challenge(reply)
            return challenge or refusal(reply.status, reply.headers)

    def _token(self, url: str) -> Mapping[str, str]:
        """What a registry gives to whoever asks."""
        _, body = fetch_small(self._web, url, model=self._name.name)
        try:
            given = msgspec.json.decode(body, type=_Given)
        except UNREADABLE as exc:
            raise self._error("SOURCE_BROKEN", "what should be a token cannot be read") from exc
        token = given.token or given.access_token
        if _TOKEN.fullmatch(token) is None:
            raise self._error("SOURCE_FORBIDDEN", "it gives no token to those it does not know")
        return MappingProxyType({"authorization": f"Bearer {token}"})

    def _error(self, code: str, problem: str) -> RbeeError:
        source = source_of(self._url)
        return RbeeError(code, model=self._name.name, source=source, problem=problem)


def _challenge(reply: Reply) -> _Challenge | None:
    """Where a token is given for what was refused; None: nowhere that may be asked.

    A registry of this machine may name an address of this machine; any other one only https.
    """
    kind, _, rest = reply.headers.get("www-authenticate", "").partition(" ")
    fields = dict(_FIELD.findall(rest))
    if reply.status != 401 or kind.lower() != "bearer":
        return None
    try:
        parts = urlsplit(fields.pop("realm", ""))
        near = is_loopback(parts.hostname or "") and is_loopback(urlsplit(reply.url).hostname or "")
    except ValueError:
        return None
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and near)):
        return None
    asked = {key: fields[key] for key in ("service", "scope") if key in fields}
    query = "&".join(filter(None, (parts.query, urlencode(asked))))
    return _Challenge(parts._replace(query=query, fragment="").geturl())
