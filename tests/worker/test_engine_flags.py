"""Promises of `worker.engine_flags`, on the real engine's parameters."""

from __future__ import annotations

import pytest
import xllamacpp

from rbee.worker.engine_flags import FlagError, apply_flags


def _applied(*args: str) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    apply_flags(params, args)
    return params


@pytest.mark.parametrize(
    ("args", "attribute", "value"),
    [
        (("--ubatch-size", "32"), "n_ubatch", 32),
        (("-ub", "32"), "n_ubatch", 32),
        (("--ubatch-size=32",), "n_ubatch", 32),
        (("--n-predict", "-1"), "n_predict", -1),
        (("--rope-freq-base", "50000"), "rope_freq_base", 50000.0),
        (("--rope-freq-scale", "0.5"), "rope_freq_scale", 0.5),
        (("--rope-scale", "4"), "rope_freq_scale", 0.25),
        (("--yarn-orig-ctx", "2048"), "yarn_orig_ctx", 2048),
        (("-ngl", "all"), "n_gpu_layers", 999),
        (("-ngl", "12"), "n_gpu_layers", 12),
        (("--swa-full",), "swa_full", True),
        (("--no-warmup",), "warmup", False),
        (("--no-cache-prompt",), "cache_prompt", False),
        (("--context-shift",), "ctx_shift", True),
        (("--fit", "on"), "fit_params", True),
        (("--no-kv-offload",), "no_kv_offload", True),
        (("--cache-reuse", "64"), "n_cache_reuse", 64),
        (("--jinja", "--no-perf"), "no_perf", True),
        (("--timeout", "60"), "timeout_write", 60),
    ],
)
def test_a_flag_sets_its_attribute(args: tuple[str, ...], attribute: str, value: object) -> None:
    """By its long name, its short one, with `=`, by rule and by table."""
    assert getattr(_applied(*args), attribute) == value


@pytest.mark.parametrize(
    ("args", "attribute", "member"),
    [
        (("--flash-attn", "on"), "flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_ENABLED"),
        (("-fa", "off"), "flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_DISABLED"),
        (("-fa", "auto"), "flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_AUTO"),
        (("--cache-type-k", "q8_0"), "cache_type_k", "GGML_TYPE_Q8_0"),
        (("-ctv", "f32"), "cache_type_v", "GGML_TYPE_F32"),
        (("--rope-scaling", "yarn"), "rope_scaling_type", "LLAMA_ROPE_SCALING_TYPE_YARN"),
        (("--pooling", "last"), "pooling_type", "LLAMA_POOLING_TYPE_LAST"),
        (("--split-mode", "row"), "split_mode", "LLAMA_SPLIT_MODE_ROW"),
        (("--no-mmap",), "load_mode", "LLAMA_LOAD_MODE_NONE"),
        (("--mlock",), "load_mode", "LLAMA_LOAD_MODE_MLOCK"),
    ],
)
def test_a_word_of_an_enum_is_found(args: tuple[str, ...], attribute: str, member: str) -> None:
    """Values are the words of llama-server, not the names of the library."""
    assert getattr(_applied(*args), attribute).name == member


def test_samplers_and_paths_are_reached() -> None:
    """Attributes of parts of the parameters are set too."""
    params = _applied("--temp", "0.5", "--top-k", "7", "--mmproj", "p.gguf", "--lora", "a,b")
    assert params.sampling.temp == pytest.approx(0.5)
    assert params.sampling.top_k == 7
    assert params.mmproj.path == "p.gguf"
    assert _applied("--chat-template-kwargs", '{"a": true}').default_template_kwargs == {
        "a": "true"
    }
    assert [adapter.path for adapter in params.lora_adapters] == ["a", "b"]


@pytest.mark.parametrize(
    "args",
    [
        ("--no-such-flag",),
        ("stray",),
        ("--ubatch-size", "many"),
        ("--ubatch-size", "99999999999999999999"),
        ("--cache-type-k", "q9_9"),
        ("--rope-scale", "0"),
        ("--tensor-split", "a,b"),
        ("--chat-template-file", "/nowhere/at/all"),
        ("--chat-template-kwargs", "{"),
        ("--ubatch-size",),
        ("--swa-full", "stray"),
        ("--model",),
        ("--__class__", "x"),
        ("--cpuparams", "x"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name(args: tuple[str, ...]) -> None:
    """Nothing is dropped in silence, and the message names the word that is wrong."""
    with pytest.raises(FlagError, match=args[-1] if args[-1] == "stray" else args[0]):
        _applied(*args)
