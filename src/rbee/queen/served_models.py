"""Which models can be asked for, under which names, and how each shall be run.

A model can be asked for if it is stored, or declared in the TOML. An inference request never
downloads anything that is neither.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rbee.errors import RbeeError
from rbee.models import names
from rbee.settings import AUTO_CTX, AUTO_PARALLEL, ModelSettings, Settings
from rbee.wire.control import ModelView, ModelWish


@dataclass(frozen=True, slots=True)
class Attached:
    """What an attached server says of a model."""

    context_tokens: int
    since: float


@dataclass(frozen=True, slots=True)
class Served:
    """A model that can be asked for."""

    name: str
    ref: str
    how: ModelSettings
    stored: ModelView | None
    """None: declared, and to be fetched before its first load."""
    pin: str = ""
    """The digest that was asked for (`NAME@sha256:…`): nothing else answers; empty: any."""
    attached: Attached | None = None
    """Neither stored nor declared: a server that somebody else runs has it."""

    @property
    def declared(self) -> bool:
        """The TOML or the store knows where it comes from."""
        return self.attached is None

    @property
    def context_tokens(self) -> int:
        """The context it is or will be served with, per slot."""
        if self.attached is not None:
            return self.attached.context_tokens
        trained = self.stored.context_train_tokens if self.stored else 0
        return self.how.ctx or min(trained or AUTO_CTX, AUTO_CTX)

    def check(self, digest: str) -> None:
        """Raises MODEL_VERSION_MISMATCH if this is not the digest that was asked for."""
        if self.pin and digest != self.pin:
            raise RbeeError(
                "MODEL_VERSION_MISMATCH", model=self.name, wanted=self.pin[:80], found=digest
            )

    @property
    def slots(self) -> int:
        return (self.how.parallel or AUTO_PARALLEL) * max(1, self.how.replicas)

    def wish(self, mode: str) -> ModelWish:
        """The wish for the hive."""
        how = self.how
        return ModelWish(
            name=self.name,
            ref=self.ref,
            mode=mode,
            replicas=max(1, how.replicas) if mode == "chat" else 1,
            device=how.device,
            fallback=how.fallback,
            ctx=how.ctx,
            parallel=how.parallel,
            args=how.args,
            keep_alive_s=how.keep_alive_s,
            trust=how.trust,
        )


class ServedModels:
    """The directory of names; rebuilt when settings, the store or what was said has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sources = _sources(settings)
        self._made_of: tuple[object, ...] = ()
        """What the directory was made of last."""
        self._all: tuple[Served, ...] = ()
        self._by_name: dict[str, Served] = {}
        self.attached: dict[str, Attached] = {}
        """What attached servers have, by the name that it is asked for by."""
        self.overrides: dict[str, ModelSettings] = {}
        """What `rbee serve` said, by public name; it wins over the TOML."""

    def all(self, stored: tuple[ModelView, ...]) -> tuple[Served, ...]:
        """Every model, declared ones first."""
        made_of = (stored, self._settings, self.overrides, self.attached)
        if made_of != self._made_of:
            self._made_of = (stored, self._settings, {**self.overrides}, {**self.attached})
            self._all = tuple(self._gathered(stored))
            names = ((name, one) for one in self._all for name in (one.name, *one.how.aliases))
            self._by_name = dict(reversed(list(names)))
        return self._all

    def _gathered(self, stored: tuple[ModelView, ...]) -> Iterator[Served]:
        by_ref = {name: view for view in stored for name in (view.name, view.ref)}
        shown: set[str] = set()
        for block in self._settings.models.values():
            sources = self._sources[block.name] or ((block.name, ""),)
            refs = [ref for ref, _ in sources]
            view = next((by_ref[one] for one in (*refs, block.name) if one in by_ref), None)
            how = self.overrides.get(block.name, block)
            ref = view.ref if view else (*block.source, block.name)[0]
            shown |= {block.name, ref}
            pin = next((digest for _, digest in sources if digest), "")
            yield Served(block.name, ref, how, view, pin)
        for view in stored:
            if view.name in shown or (view.ref in shown and view.name not in self.overrides):
                continue
            default = replace(self._settings.defaults, name=view.name)
            shown.add(view.name)
            yield Served(view.name, view.ref, self.overrides.get(view.name, default), view)
        for name, attached in self.attached.items():
            if name not in shown:
                how = replace(self._settings.defaults, name=name)
                yield Served(name, "", how, None, attached=attached)

    def follow(self, settings: Settings) -> None:
        """Other settings hold now. What `rbee serve` said of a model is older than a new block."""
        before, self._settings = self._settings, settings
        self._sources = _sources(settings)
        for name in tuple(self.overrides):
            if before.models.get(name) != settings.models.get(name):
                del self.overrides[name]

    def recall(self, wish: ModelWish) -> None:
        """A lasting wish of an earlier life says again how its model is run."""
        how = self._settings.models.get(wish.name, self._settings.defaults)
        self.overrides[wish.name] = replace(
            how,
            name=wish.name,
            replicas=wish.replicas,
            device=wish.device,
            fallback=wish.fallback,
            ctx=wish.ctx,
            parallel=wish.parallel,
            args=wish.args,
            keep_alive_s=wish.keep_alive_s,
            trust=wish.trust,
        )

    def find(self, name: str, stored: tuple[ModelView, ...]) -> Served:
        """The model of that name or alias, which may end in `@sha256:…`. Raises MODEL_NOT_FOUND
        with the nearest names, MODEL_VERSION_MISMATCH if another version is stored than the one
        that the request or the TOML pins."""
        plain, pin = _split_pin(name)
        served = self.any_version(plain, stored)
        for one in (served, replace(served, pin=pin)) if pin else (served,):
            if one.stored is not None:
                one.check(one.stored.digest)
        return replace(served, pin=pin) if pin else served

    def any_version(self, name: str, stored: tuple[ModelView, ...]) -> Served:
        """The model of that name or alias, whatever version of it is stored: for acts on the store.
        Raises MODEL_NOT_FOUND with the nearest names."""
        served = self.all(stored)
        found = self._by_name.get(name)
        if found is not None:
            return found
        for view in stored:
            # A stored model keeps its own name beside the name of the block that declares it.
            if name in (view.name, view.ref):
                default = replace(self._settings.defaults, name=view.name)
                return Served(view.name, view.ref, self.overrides.get(view.name, default), view)
        known = [known for one in served for known in (one.name, *one.how.aliases)]
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known[:3]
        raise RbeeError("MODEL_NOT_FOUND", model=name[:200], nearest=nearest)

    def only(self, stored: tuple[ModelView, ...]) -> str | None:
        """The name of the model if there is just one: routes that name none mean it."""
        served = self.all(stored)
        return served[0].name if len(served) == 1 else None


def _split_pin(name: str) -> tuple[str, str]:
    """`NAME@sha256:HEX` → the name and `sha256:HEX`; without a pin the second is empty."""
    plain, at, digits = name.partition("@sha256:")
    return plain, f"sha256:{digits}" if at else ""


def _sources(settings: Settings) -> dict[str, tuple[tuple[str, str], ...]]:
    """Of each block: what the store knows its sources by, and what they are pinned to."""
    return {
        block.name: tuple(_as_stored(source) for source in block.source)
        for block in settings.models.values()
    }


def _as_stored(source: str) -> tuple[str, str]:
    """A source of the TOML as a stored model names it, and the digest that it asks for."""
    try:
        name = names.parse(source)
    except RbeeError:
        # What is wrong with it is told by whoever fetches it.
        return _split_pin(source)
    return names.unpinned(name).ref, name.digest


def listing(served: Served) -> Iterator[dict[str, Any]]:
    """A model as OpenAI lists it, once for its name and once for each alias."""
    for name in (served.name, *served.how.aliases):
        yield _entry(name, served)


def _entry(name: str, served: Served) -> dict[str, Any]:
    view, attached = served.stored, served.attached
    added_at = view.added_at if view else attached.since if attached else 0.0
    meta: Mapping[str, Any] = (
        {
            "n_ctx_train": view.context_train_tokens,
            "n_embd": view.embedding_length,
            "n_params": view.parameters,
            "size": view.size_bytes,
            "ftype": view.quantisation,
        }
        if view
        else {}
    )
    return {
        "id": name,
        "object": "model",
        "created": int(added_at),
        "owned_by": "rbee",
        "context_length": served.context_tokens,
        "max_model_len": served.context_tokens,
        "meta": {**meta, "n_ctx": served.context_tokens},
    }
