"""Servers that somebody else runs: where one is, what it says of itself, and what it is asked.

Anything that speaks OpenAI's API: vLLM, SGLang, Ollama, llama-server, another rbee. What only
llama.cpp knows is not sent to it, and it is asked for the model by the name that it has for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from rbee.errors import RbeeError
from rbee.wire.unreadable import UNREADABLE

PATHS: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
"""What every such server is taken to serve; other routes are asked of workers of ours alone."""

_OURS: Final = ("return_progress", "cache_prompt")
_KINDS: Final = {
    "llamacpp": "llama.cpp",
    "library": "ollama",
    "rbee": "rbee",
    "sglang": "sglang",
    "vllm": "vllm",
}
"""What a server writes into `owned_by`, and what it is."""
_GOES_ON_BY_ITSELF: Final = frozenset({"llama.cpp", "ollama", "rbee"})
"""Those that go on from a last message of the assistant without being told to."""
_CONTEXTS: Final = ("max_model_len", "context_length", "context_window")
_NAME_CHARACTERS: Final = 512
_LATER_S: Final = 5
_DAY_S: Final = 86_400
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")


class Attachment(msgspec.Struct, frozen=True):
    """The wish that a server belongs to the pool: what `state/attached.json` keeps."""

    id: str
    host: str
    port: int
    base: str
    """The path that stands for `/v1`."""
    tls: bool
    model: str
    """The name that it is asked for by here."""
    theirs: str
    """The name that the server has for it."""
    at: float
    """When it was attached."""
    key_env: str = ""
    """The variable of rbee's own environment that holds the key; empty: no key, or in a file."""
    key_file: str = ""
    ctx: int = 0
    """0: as the server says."""
    slots: int = 0

    @property
    def address(self) -> str:
        return Address(self.host, self.port, self.base, self.tls).address


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model as such a server lists it."""

    name: str
    kind: str
    """`llama.cpp`, `ollama`, `rbee`, `sglang`, `vllm` or `openai` (not known)."""
    context_tokens: int
    """0: it does not say."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int
    base: str
    tls: bool

    @property
    def address(self) -> str:
        """As a person writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.base}"


def parse_address(url: str) -> Address:
    """`http://host:port/v1`. Raises INVALID_REQUEST, without the URL: it may hold a secret."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as exc:
        raise _bad(f"the URL cannot be read: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _bad("the URL must be http://HOST:PORT/v1")
    _check_bare(parts)
    base = parts.path.rstrip("/")
    if not _PATH.fullmatch(base) or not (_HOST.fullmatch(parts.hostname) or _is_ipv6(parts)):
        raise _bad("the URL's host and path may hold only letters, digits and . _ ~ -")
    tls = parts.scheme == "https"
    return Address(parts.hostname, port or (443 if tls else 80), base or "/v1", tls)


def _is_ipv6(parts: SplitResult) -> bool:
    try:
        return IPv6Address(parts.hostname or "").scope_id is None
    except ValueError:
        return False


def _check_bare(parts: SplitResult) -> None:
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _bad("the URL may hold no user, no key and no query; a key is named by --key-env")


def models_of(body: bytes) -> tuple[Foreign, ...]:
    """What `/v1/models` names. Raises ValueError saying what is wrong with the answer."""
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE as exc:
        raise ValueError("its list of models is not JSON") from exc
    listed = value.get("data") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it gives no list of models")
    found = [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]
    return tuple(
        Foreign(one["id"], _KINDS.get(str(one.get("owned_by")), "openai"), _context_of(one))
        for one in found
        if 0 < len(one["id"]) <= _NAME_CHARACTERS
    )


def choose(listed: Sequence[Foreign], model: str) -> tuple[str, str]:
    """The name here and the name there, for `NAME`, `NAME=THEIRS` or nothing at all.

    Raises INVALID_REQUEST naming what there is, if it is not clear which one is meant.
    """
    here, _, there = model.partition("=")
    names = [one.name for one in listed]
    if there or here in names:
        wanted = there or here
    elif len(names) == 1:
        wanted = names[0]
    else:
        shown = ", ".join(names[:20]) or "none"
        raise RbeeError(
            "INVALID_REQUEST",
            problem=f"the server has these models: {shown}; name one with --model NAME, "
            "or --model NAME=THEIRS to call it otherwise",
            param="model",
        )
    if wanted not in names:
        raise RbeeError(
            "INVALID_REQUEST", problem=f"the server has no model {wanted[:200]}", param="model"
        )
    return here or _public(wanted), wanted


def foreign_refusal(
    status: int, retry_after: str | None, *, model: str, worker: str
) -> RbeeError | None:
    """What its status says where it is about the server and not about the request; None: look at
    its words. Of a refused key the words are not shown: servers quote the key in them."""
    if status in (401, 403):
        return RbeeError("ATTACHED_KEY", worker=worker, problem=f"it answered {status}")
    if status in (408, 429):
        after_s = int(retry_after) if retry_after and retry_after.isdecimal() else _LATER_S
        return RbeeError(
            "ATTACHED_BUSY", model=model, worker=worker, retry_after_s=max(1, min(after_s, _DAY_S))
        )
    return None


def body_for(body: Mapping[str, Any], theirs: str) -> dict[str, Any]:
    """The request without what only llama.cpp knows, for the model by the server's name for it."""
    asked = {name: value for name, value in body.items() if name not in _OURS}
    asked["model"] = theirs
    return asked


def told_to_go_on(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A chat whose last message is the beginning of the answer, said so that the server goes on
    from it. One that does not know the words refuses them, and then nothing is made up."""
    if kind in _GOES_ON_BY_ITSELF:
        return dict(body)
    return {**body, "add_generation_prompt": False, "continue_final_message": True}


def renaming(theirs: str, ours: str) -> Callable[[bytes], bytes] | None:
    """Puts the name that the client used into what the server says; None: they are the same.

    Inside a JSON string the quotes would be escaped, so no text can be meant.
    """
    if theirs == ours:
        return None
    # Python writes what is not ASCII as \uXXXX, others write it as it is.
    forms = {msgspec.json.encode(theirs), json.dumps(theirs).encode()}
    pattern = re.compile(rb'("model"\s*:\s*)(?:' + b"|".join(map(re.escape, forms)) + rb")")
    name = msgspec.json.encode(ours)

    def rename(data: bytes) -> bytes:
        return pattern.sub(lambda found: found[1] + name, data) if b'"model"' in data else data

    return rename


def _public(theirs: str) -> str:
    """llama-server without an alias calls a model by its file's path, which is no public name."""
    return theirs.rsplit("/", 1)[-1].removesuffix(".gguf") if theirs.endswith(".gguf") else theirs


def _context_of(entry: Mapping[str, Any]) -> int:
    found = entry.get("meta")
    meta: Mapping[str, Any] = found if isinstance(found, dict) else {}
    said = [entry.get(name) for name in _CONTEXTS]
    said += [meta.get(name) for name in ("n_ctx", "n_ctx_train")]
    return next((one for one in said if type(one) is int and one > 0), 0)


def _bad(problem: str) -> RbeeError:
    return RbeeError("INVALID_REQUEST", problem=problem, param="url")
