"""llama-server's flags for the built-in engine, which takes attributes and no command line.

A flag is found by rule (`--rope-freq-base` is the attribute `rope_freq_base`, else `n_…`, else that
of the sampler) and the type of what is there says how its value is read. Flags that break the rule
stand in the table. A flag that has no attribute is refused by name: nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from rbee.wire.unreadable import UNREADABLE


class FlagError(Exception):
    """A flag or a value that the engine does not take; says which."""


@dataclass(frozen=True, slots=True)
class _Flag:
    attributes: tuple[str, ...]
    """Dotted paths in `CommonParams`, all set alike."""
    fixed: Any = None
    """The value of a flag that takes none."""


def _flags(table: Mapping[str, str]) -> dict[str, _Flag]:
    found: dict[str, _Flag] = {}
    for names, paths in table.items():
        for name in names.split():
            found[name] = _Flag(tuple(paths.split()))
    return found


_ATTRIBUTES = _flags(
    {
        "-n --predict --n-predict": "n_predict",
        "-b --batch-size": "n_batch",
        "-ub --ubatch-size": "n_ubatch",
        "-fa --flash-attn": "flash_attn_type",
        "-ctk --cache-type-k": "cache_type_k",
        "-ctv --cache-type-v": "cache_type_v",
        "-ngl --gpu-layers --n-gpu-layers": "n_gpu_layers",
        "-sm --split-mode": "split_mode",
        "-mg --main-gpu": "main_gpu",
        "-lm --load-mode": "load_mode",
        "-lzm --lazy-mode": "lazy_mode",
        "-fit --fit": "fit_params",
        "-fitc --fit-ctx": "fit_params_min_ctx",
        "-cram --cache-ram": "cache_ram_mib",
        "--cache-reuse": "n_cache_reuse",
        "-ctxcp --ctx-checkpoints --swa-checkpoints": "n_ctx_checkpoints",
        "-sps --slot-prompt-similarity": "slot_prompt_similarity",
        "--rope-scaling": "rope_scaling_type",
        "-mm --mmproj": "mmproj.path",
        "--threads-http": "n_threads_http",
        "-to --timeout": "timeout_read timeout_write",
        "-lv --verbosity --log-verbosity": "verbosity",
        "--pooling": "pooling_type",
        "--attention": "attention_type",
        "--embd-normalize": "embd_normalize",
        "--temp --temperature": "sampling.temp",
        "-s --seed": "sampling.seed",
        "--top-k": "sampling.top_k",
        "--top-p": "sampling.top_p",
        "--min-p": "sampling.min_p",
        "--typical --typical-p": "sampling.typ_p",
        "--repeat-penalty": "sampling.penalty_repeat",
        "--repeat-last-n": "sampling.penalty_last_n",
        "--presence-penalty": "sampling.penalty_present",
        "--frequency-penalty": "sampling.penalty_freq",
        "--dynatemp-range": "sampling.dynatemp_range",
        "--dynatemp-exp": "sampling.dynatemp_exponent",
        "--mirostat": "sampling.mirostat",
        "--mirostat-lr": "sampling.mirostat_eta",
        "--mirostat-ent": "sampling.mirostat_tau",
        "--samplers": "sampling.samplers",
        "--reasoning-budget": "sampling.reasoning_budget_tokens",
        "--prio": "cpuparams.priority",
        "--prio-batch": "cpuparams_batch.priority",
        "--poll": "cpuparams.poll",
        "--poll-batch": "cpuparams_batch.poll",
        "--cpu-strict": "cpuparams.strict_cpu",
        "--cpu-strict-batch": "cpuparams_batch.strict_cpu",
        "-md --model-draft --spec-draft-model": "speculative.draft.mparams.path",
        "-ngld --gpu-layers-draft --n-gpu-layers-draft": "speculative.draft.n_gpu_layers",
        "--draft --draft-n --draft-max --spec-draft-n-max": "speculative.draft.n_max",
        "--draft-min --draft-n-min --spec-draft-n-min": "speculative.draft.n_min",
        "--draft-p-min --spec-draft-p-min": "speculative.draft.p_min",
        "-kvu --kv-unified": "kv_unified",
        "-cb --cont-batching": "cont_batching",
        "--keep": "n_keep",
        "--context-shift": "ctx_shift",
        "--mmproj-offload": "mmproj_use_gpu",
        "--skip-chat-parsing": "force_pure_content_parser",
        "-sp --special": "special",
        "-e --escape": "escape",
        "--draft-p-split --spec-draft-p-split": "speculative.draft.p_split",
        "-ctkd --cache-type-k-draft --spec-draft-type-k": "speculative.draft.cache_type_k",
        "-ctvd --cache-type-v-draft --spec-draft-type-v": "speculative.draft.cache_type_v",
        "-gan --grp-attn-n": "grp_attn_n",
        "-gaw --grp-attn-w": "grp_attn_w",
    }
)

_FIXED: Mapping[str, _Flag] = {
    **dict.fromkeys(("-nkvo", "--no-kv-offload"), _Flag(("no_kv_offload",), True)),
    **dict.fromkeys(("-nr", "--no-repack"), _Flag(("no_extra_bufts",), True)),
    "--repack": _Flag(("no_extra_bufts",), False),
    **dict.fromkeys(("-kvo", "--kv-offload"), _Flag(("no_kv_offload",), False)),
    "--no-op-offload": _Flag(("no_op_offload",), True),
    "--op-offload": _Flag(("no_op_offload",), False),
    "--no-perf": _Flag(("no_perf", "sampling.no_perf"), True),
    "--perf": _Flag(("no_perf", "sampling.no_perf"), False),
    "--mlock": _Flag(("load_mode",), "mlock"),
    "--no-mmap": _Flag(("load_mode",), "none"),
    "--jinja": _Flag(("use_jinja",), True),
    "--no-jinja": _Flag(("use_jinja",), False),
    **dict.fromkeys(("--rerank", "--reranking"), _Flag(("embedding",), True)),
    **dict.fromkeys(("-v", "--verbose", "--log-verbose"), _Flag(("verbosity",), 2147483647)),
    **dict.fromkeys(("-nocb", "--no-cont-batching"), _Flag(("cont_batching",), False)),
    **dict.fromkeys(("-no-kvu", "--no-kv-unified"), _Flag(("kv_unified",), False)),
    "--no-webui": _Flag(("ui",), False),
}

_TRUE = frozenset({"on", "true", "yes", "1", "enabled"})
_FALSE = frozenset({"off", "false", "no", "0", "disabled"})
_GPU_LAYERS = {"auto": -1, "all": 999}


def apply_flags(params: Any, args: Sequence[str]) -> None:
    """Set what `args` ask for. Raises FlagError naming the flag that cannot be."""
    words = iter(_words(args))
    waiting: list[str] = []
    while True:
        flag = waiting.pop() if waiting else next(words, None)
        if flag is None:
            return
        _apply_one(params, flag, words, waiting)


def _words(args: Sequence[str]) -> Iterator[str]:
    for arg in args:
        flag, equals, value = arg.partition("=")
        if arg.startswith("--") and equals:
            yield flag
            yield value
        else:
            yield arg


def _apply_one(params: Any, flag: str, words: Iterator[str], waiting: list[str]) -> None:
    if flag in _SPECIAL:
        _SPECIAL[flag](params, _value(flag, words))
        return
    found = _FIXED.get(flag) or _ATTRIBUTES.get(flag) or _by_rule(params, flag)
    if found is None:
        raise FlagError(f"invalid argument: {flag} (not in the built-in engine)")
    if found.fixed is not None:
        _assign(params, found, flag, found.fixed)
    elif isinstance(_look(params, found.attributes[0]), bool):
        word = next(words, None)
        if word is not None and word.lower() not in _TRUE | _FALSE:
            waiting.append(word)
            word = None
        _assign(params, found, flag, word is None or word.lower() in _TRUE)
    else:
        _assign(params, found, flag, _value(flag, words))


def _by_rule(params: Any, flag: str) -> _Flag | None:
    if not flag.startswith("--"):
        return None
    name = flag[2:].replace("-", "_")
    for path in (name, f"n_{name}", f"sampling.{name}"):
        if _has(params, path):
            return _Flag((path,))
    if not name.startswith("no_"):
        return None
    on = _ATTRIBUTES.get(f"--{flag[5:]}") or _Flag((name[3:],))
    return (
        _Flag(on.attributes, False)
        if isinstance(_look_or_none(params, on.attributes[0]), bool)
        else None
    )


def _value(flag: str, words: Iterator[str]) -> str:
    value = next(words, None)
    if value is None:
        raise FlagError(f"{flag}: a value is missing")
    return value


def _assign(params: Any, flag: _Flag, name: str, value: Any) -> None:
    for path in flag.attributes:
        owner_path, _, attribute = path.rpartition(".")
        owner = _look(params, owner_path) if owner_path else params
        try:
            setattr(owner, attribute, _converted(getattr(owner, attribute), value))
        except (ValueError, TypeError, OverflowError) as exc:
            raise FlagError(f"invalid argument: {name} {value}") from exc


def _converted(now: Any, value: Any) -> Any:
    if isinstance(now, bool):
        return bool(value)
    if isinstance(now, Enum):
        return _member(type(now), str(value))
    if isinstance(now, int):
        return _GPU_LAYERS[value] if value in _GPU_LAYERS else int(value)
    if isinstance(now, float):
        return float(value)
    if isinstance(now, list):
        return [part for part in str(value).split(",") if part]
    if isinstance(now, str):
        return str(value)
    raise TypeError(type(now).__name__)


def _member(enum: type[Enum], word: str) -> Enum:
    """`q8_0` → GGML_TYPE_Q8_0: the member whose name ends so; `on` and `off` are words too."""
    plain = word.upper().replace("+", "_").replace("-", "_")
    spoken = {"ON": "ENABLED", "OFF": "DISABLED"}
    for member in enum:
        for ending in (plain, spoken.get(plain, plain)):
            if member.name.endswith(f"_{ending}"):
                return member
    if word.lstrip("-").isdigit():
        return enum(int(word))
    raise ValueError(word)


def _set_lora(params: Any, value: str) -> None:
    import xllamacpp

    adapters = []
    for path in value.split(","):
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path = path
        adapter.scale = 1.0
        adapters.append(adapter)
    params.lora_adapters = adapters


def _set_rope_scale(params: Any, value: str) -> None:
    try:
        params.rope_freq_scale = 1.0 / float(value)
    except (ValueError, ZeroDivisionError) as exc:
        raise FlagError(f"invalid argument: --rope-scale {value}") from exc


def _set_tensor_split(params: Any, value: str) -> None:
    try:
        shares = [float(part) for part in value.split(",")]
    except ValueError as exc:
        raise FlagError(f"invalid argument: --tensor-split {value}") from exc
    whole = list(params.tensor_split)
    params.tensor_split = [*shares, *([0.0] * (len(whole) - len(shares)))]


def _set_template_file(params: Any, value: str) -> None:
    try:
        with open(value, encoding="utf-8") as file:
            params.chat_template = file.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise FlagError("invalid argument: --chat-template-file cannot be read") from exc


def _set_template_arguments(params: Any, value: str) -> None:
    try:
        named = msgspec.json.decode(value, type=dict[str, Any])
    except UNREADABLE as exc:
        raise FlagError(f"invalid argument: --chat-template-kwargs {value}") from exc
    params.default_template_kwargs = {
        name: msgspec.json.encode(argument).decode() for name, argument in named.items()
    }


_SPECIAL = {
    "--chat-template-kwargs": _set_template_arguments,
    "--lora": _set_lora,
    "--rope-scale": _set_rope_scale,
    "-ts": _set_tensor_split,
    "--tensor-split": _set_tensor_split,
    "--chat-template-file": _set_template_file,
}


def _has(params: Any, path: str) -> bool:
    return _look_or_none(params, path) is not None


def _look_or_none(params: Any, path: str) -> Any:
    try:
        found = _look(params, path)
    except AttributeError:
        return None
    return found if isinstance(found, (bool, int, float, str, list, Enum)) else None


def _look(params: Any, path: str) -> Any:
    found = params
    for name in path.split("."):
        found = getattr(found, name)
    return found
