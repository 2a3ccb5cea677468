"""Configuration: TOML, `RBEE_*` and flags become `Settings`, each value with its origin.

Order: flag > environment > TOML > engine chosen by `rbee engine use` > default. Every key is
optional; an unknown one fails with the nearest name. Pure: texts in, values out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from rbee.errors import RbeeError
from rbee.settings import Bounds, Limits, ModelSettings, Settings, Timing
from rbee.wire import config_values as kinds

FILE = "rbee.toml"
CHOSEN_ENGINE = "rbee engine use"
DEFAULT = "default"

_AUTO_WHOLE = {"auto": 0}
_MOST_DOTS = 500
"""In a key; none of ours has more than two."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the TOML: the field that it sets and how its value is read."""

    field: str
    read: kinds.Reader


TOP_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "listen": Key("listen", kinds.listen),
        "origins": Key("origins", kinds.texts),
        "models_dir": Key("models_dir", kinds.text),
    }
)
ENGINE_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "backend": Key(
            "engine_backend",
            kinds.one_of("auto", "cuda", "rocm", "vulkan", "metal", "cpu"),
        ),
        "path": Key("engine_path", kinds.text),
    }
)
LIMIT_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "queue": Key("queue", kinds.whole(0, 1_000_000)),
        "queue_wait": Key("queue_wait_s", kinds.limit_s),
        "stall": Key("stall_s", kinds.time_s(zero=False)),
        "total": Key("total_s", kinds.limit_s),
        "disk_reserve": Key("disk_reserve_bytes", kinds.size_bytes),
        "download_rate": Key("download_bytes_per_s", kinds.size_bytes),
    }
)
DEFAULT_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "keep_alive": Key("keep_alive_s", kinds.keep_alive_s),
        "device": Key("device", kinds.name),
        "fallback": Key("fallback", kinds.flag),
        "replicas": Key("replicas", kinds.whole(1, 64)),
        "ctx": Key("ctx", kinds.whole(1, 1 << 24, words=_AUTO_WHOLE)),
        "parallel": Key("parallel", kinds.whole(1, 1024, words=_AUTO_WHOLE)),
        "args": Key("args", kinds.texts),
        "params": Key("params", kinds.params),
    }
)
MODEL_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "source": Key("source", kinds.text_or_texts),
        "aliases": Key("aliases", kinds.texts),
        **DEFAULT_KEYS,
    }
)
SECTIONS = ("engine", "defaults", "models", "limits")

OTHER_VARIABLES = frozenset({"RBEE_HOME", "RBEE_URL", "RBEE_KEY", "RBEE_WORKER_KEY", "RBEE_OF"})
"""Ours, but no settings."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings, and for each value that is not the default where it comes from."""

    settings: Settings
    origins: Mapping[str, str]
    """`limits.queue` → `rbee.toml`, `RBEE_LIMITS_QUEUE`, `--port`; absent: default."""
    unknown_variables: tuple[str, ...] = ()
    """`RBEE_*` that set nothing: maybe a slip of the pen."""

    def origin(self, key: str) -> str:
        """Where a key's value comes from; host and port of `listen` may come from two places."""
        if key == "listen":
            parts = (self.origins.get("host"), self.origins.get("port"))
            return ", ".join(dict.fromkeys(part for part in parts if part)) or DEFAULT
        return self.origins.get(key, DEFAULT)


def read_config(
    *,
    home: str,
    text: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
    flags: Mapping[str, str] = MappingProxyType({}),
    chosen_engine: str = "",
) -> Config:
    """All layers put together. Raises CONFIG_INVALID naming the place, and the nearest key."""
    layers = _Layers(home)
    if chosen_engine:
        layers.put("engine.path", "engine_path", chosen_engine, CHOSEN_ENGINE)
    layers.read_toml(text)
    unknown = layers.read_environment(environment)
    layers.read_flags(flags)
    return Config(layers.settings(), MappingProxyType(layers.origins), tuple(unknown))


@dataclass(slots=True)
class _Layers:
    """Values by the group that they belong to; a later layer overwrites an earlier one."""

    home: str
    top: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, Any] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, name: str, value: Any, origin: str) -> None:
        section, dot, _ = key.partition(".")
        groups = {
            "defaults": self.defaults,
            "limits": self.limits,
            "timing": self.timing,
            "bounds": self.bounds,
        }
        group = groups.get(section, self.top) if dot else self.top
        if name == "listen":
            self.top["host"], self.top["port"] = value
            self.origins["host"] = self.origins["port"] = origin
        else:
            group[name] = value
        self.origins[key] = origin

    def read_toml(self, text: str) -> None:
        table = _parse_toml(text)
        _refuse_unknown(table, [*TOP_KEYS, *SECTIONS], "")
        for name, key in TOP_KEYS.items():
            if name in table:
                self.put(name, key.field, _read(key, table[name], name), FILE)
        for section, keys in (
            ("engine", ENGINE_KEYS),
            ("defaults", DEFAULT_KEYS),
            ("limits", LIMIT_KEYS),
        ):
            block = _table(table, section)
            _refuse_unknown(block, keys, section)
            for name, value in block.items():
                where = f"{section}.{name}"
                self.put(where, keys[name].field, _read(keys[name], value, where), FILE)
        for model, block in _table(table, "models").items():
            self._read_model(model, block)

    def _read_model(self, model: str, block: Any) -> None:
        where = f"models.{model}"
        if not isinstance(block, dict):
            raise _invalid(f"{FILE}, {where}", f"must be a section: [{where}]")
        if not model.strip() or len(model) > 200 or not model.isprintable():
            raise _invalid(f"{FILE}, {where}", "must have a name of at most 200 printable letters")
        _refuse_unknown(block, MODEL_KEYS, where)
        found = self.models[model] = {}
        for name, value in block.items():
            key = MODEL_KEYS[name]
            found[key.field] = _read(key, value, f"{where}.{name}")
            self.origins[f"{where}.{name}"] = FILE

    def read_environment(self, environment: Mapping[str, str]) -> list[str]:
        """Returns the `RBEE_*` that set nothing."""
        unknown = []
        for variable in sorted(environment):
            if not variable.startswith("RBEE_") or variable in OTHER_VARIABLES:
                continue
            found = VARIABLES.get(variable)
            if found is None:
                unknown.append(variable)
                continue
            place, key = found
            try:
                value = key.read(environment[variable], True)
            except ValueError as exc:
                raise _invalid(variable, str(exc)) from exc
            self.put(place, key.field, value, variable)
        return unknown

    def read_flags(self, flags: Mapping[str, str]) -> None:
        for name, value in flags.items():
            key = FLAGS[name]
            try:
                self.put(name, key.field, key.read(value, True), f"--{name}")
            except ValueError as exc:
                raise _invalid(f"--{name}", str(exc)) from exc

    def settings(self) -> Settings:
        if self.top.get("models_dir") == "auto":
            self.top["models_dir"] = ""
        defaults = replace(ModelSettings(), **self.defaults)
        models = {
            name: replace(defaults, name=name, **values) for name, values in self.models.items()
        }
        _check_names(models.values())
        return Settings(
            home=self.home,
            defaults=defaults,
            models=MappingProxyType(models),
            limits=replace(Limits(), **self.limits),
            timing=replace(Timing(), **self.timing),
            bounds=replace(Bounds(), **self.bounds),
            **self.top,
        )


def _variables() -> Mapping[str, tuple[str, Key]]:
    """`RBEE_X` → the place that it sets; spelt as in the TOML, or as the field in `settings`."""
    found: dict[str, tuple[str, Key]] = {
        "RBEE_HOST": ("host", Key("host", kinds.name)),
        "RBEE_PORT": ("port", Key("port", kinds.whole(0, 65535))),
        "RBEE_THREADS": ("threads", Key("threads", kinds.whole(0, 4096))),
        "RBEE_LEAST_CTX": ("least_ctx", Key("least_ctx", kinds.whole(1, 1 << 24))),
        "RBEE_WORKER_PORTS": ("worker_ports", Key("worker_ports", kinds.span)),
        "RBEE_MEMORY": ("memory_bytes", Key("memory_bytes", kinds.size_bytes)),
        "RBEE_WORKER_MEMORY": (
            "worker_memory_bytes",
            Key("worker_memory_bytes", kinds.size_bytes),
        ),
    }
    sections = (
        ("", TOP_KEYS),
        ("engine", ENGINE_KEYS),
        ("defaults", DEFAULT_KEYS),
        ("limits", LIMIT_KEYS),
    )
    for section, keys in sections:
        for name, key in keys.items():
            place = f"{section}.{name}" if section else name
            prefix = f"RBEE_{section}_" if section else "RBEE_"
            spelt = key.field if section != "engine" else name
            for spelling in (name, spelt):
                found[f"{prefix}{spelling}".upper()] = (place, key)
    for section, kind in (("timing", Timing), ("bounds", Bounds)):
        for one in fields(kind):
            found[f"RBEE_{one.name}".upper()] = (f"{section}.{one.name}", _key_of(one.name))
    return MappingProxyType(found)


def _key_of(name: str) -> Key:
    """How a field that is no TOML key is read, by the unit at the end of its name."""
    if name.endswith("_s"):
        return Key(name, kinds.time_s())
    if name.endswith("_bytes"):
        return Key(name, kinds.size_bytes)
    lowest = 0 if name.endswith("_per_minute") else 1
    return Key(name, kinds.whole(lowest, 1 << 31))


VARIABLES = _variables()
FLAGS: Mapping[str, Key] = MappingProxyType(
    {"host": Key("host", kinds.name), "port": Key("port", kinds.whole(0, 65535))}
)


def _parse_toml(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    import tomllib  # a tenth of what `rbee infer` imports, and most homes have no file

    for number, line in enumerate(text.splitlines(), 1):
        # Each part of a key is looked for among all before it: 50,000 of them took minutes.
        if line.partition("=")[0].count(".") > _MOST_DOTS:
            raise _invalid(FILE, f"it is not TOML: the key in line {number} has no end")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise _invalid(FILE, f"it is not TOML: {exc}") from exc
    except RecursionError as exc:
        raise _invalid(FILE, "it is not TOML: it is nested too deeply") from exc
    except ValueError as exc:
        raise _invalid(FILE, "it is not TOML: a number in it has too many digits") from exc


def _table(table: Mapping[str, Any], section: str) -> dict[str, Any]:
    block = table.get(section, {})
    if not isinstance(block, dict):
        raise _invalid(f"{FILE}, {section}", f"must be a section: [{section}]")
    return block


def _read(key: Key, value: Any, where: str) -> Any:
    try:
        return key.read(value, False)
    except ValueError as exc:
        raise _invalid(f"{FILE}, {where}", str(exc)) from exc


def _refuse_unknown(block: Mapping[str, Any], known: Iterable[str], section: str) -> None:
    names = list(known)
    for key in block:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.4)
            hint = f"nearest: {near[0]}" if near else f"known here: {', '.join(sorted(names))}"
            where = f"{FILE}, [{section}]" if section else FILE
            raise _invalid(where, f"there is no key {key[:80]} ({hint})")


def _check_names(models: Iterable[ModelSettings]) -> None:
    """A name that clients ask for leads to one model only."""
    owner: dict[str, str] = {}
    for model in models:
        for name in (model.name, *model.aliases):
            if owner.setdefault(name, model.name) != model.name:
                where = f"{FILE}, models.{model.name}"
                raise _invalid(where, f"the name {name} already leads to {owner[name]}")


def _invalid(where: str, problem: str) -> RbeeError:
    return RbeeError("CONFIG_INVALID", where=where, problem=problem)
