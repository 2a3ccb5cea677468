"""Which files of a repository are the model that is meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.models.names import Hf, parse
from rbee.models.sources.hf_choice import Model, Unclear, choose, models_of

TWO_QUANTS = ("tiny.Q8_0.gguf", "tiny.Q4_K_M.gguf", "tiny.IQ4_XS.gguf", "mmproj-tiny-f16.gguf")
UNSLOTH = (
    "BF16/Big-BF16-00002-of-00002.gguf",
    "BF16/Big-BF16-00001-of-00002.gguf",
    "Big-Q4_K_M.gguf",
    "Big-UD-Q4_K_M.gguf",
    "Big-UD-Q4_K_XL.gguf",
    "imatrix_unsloth.gguf",
)


@pytest.mark.parametrize(
    ("paths", "rest", "chosen"),
    [
        (TWO_QUANTS, "", "tiny.Q4_K_M.gguf"),
        (TWO_QUANTS, ":q8_0", "tiny.Q8_0.gguf"),
        (TWO_QUANTS, ":iq4_xs", "tiny.IQ4_XS.gguf"),
        (TWO_QUANTS, ":tiny.Q8_0.gguf", "tiny.Q8_0.gguf"),
        (("a.Q5_1.gguf", "a.Q8_0.gguf"), "", "a.Q8_0.gguf"),
        (("a.Q8_0.gguf", "a.Q4_1.gguf"), "", "a.Q4_1.gguf"),
        (("a.Q8_0.gguf", "a.q4_0.gguf"), "", "a.q4_0.gguf"),
        (("only.gguf", "README.md"), "", "only.gguf"),
        (("a.F16.gguf", "a.fp16.gguf"), ":fp16", "a.fp16.gguf"),
        (UNSLOTH, "", "Big-Q4_K_M.gguf"),
        (UNSLOTH, ":Q4_K_M", "Big-Q4_K_M.gguf"),
        (UNSLOTH, ":UD-Q4_K_M", "Big-UD-Q4_K_M.gguf"),
        (UNSLOTH, ":Q4_K_XL", "Big-UD-Q4_K_XL.gguf"),
        (UNSLOTH, ":BF16", "BF16/Big-BF16-00001-of-00002.gguf"),
        (UNSLOTH, ":BF16/Big-BF16-00002-of-00002.gguf", "BF16/Big-BF16-00001-of-00002.gguf"),
        (("q8_0.gguf", "my_q4_0.gguf"), ":q4_0", "my_q4_0.gguf"),
        (("a-base.gguf", "a-chat.gguf"), ":chat", "a-chat.gguf"),
    ],
)
def test_one_model_is_meant(paths, rest, chosen):
    """By quantisation, by file, or the one that most people want."""
    found = choose(models_of(paths), parse(f"hf:org/repo{rest}"))

    assert isinstance(found, Model) and found.name == chosen


@pytest.mark.parametrize(
    ("paths", "rest", "words"),
    [
        ((), "", "no GGUF"),
        (("model.safetensors", "mmproj-x.gguf"), "", "no GGUF"),
        (("a.Q5_0.gguf", "a.Q6_K.gguf"), "", "Q5_0, Q6_K"),
        (("a.Q4_0.gguf", "b.Q4_0.gguf"), "", "a.Q4_0.gguf, b.Q4_0.gguf"),
        (("a.Q4_0.gguf", "b.Q4_0.gguf"), ":Q4_0", "a.Q4_0.gguf, b.Q4_0.gguf"),
        (TWO_QUANTS, ":Q4_K", "Q4_K_M"),
        (TWO_QUANTS, ":Q4_K_S", "Q4_K_M"),
        (TWO_QUANTS, ":MINE", "Q4_K_M"),
        (TWO_QUANTS, ":mmproj-tiny-f16.gguf", "no such file"),
        (("a-00001-of-00002.gguf",), "", "not there"),
        (("a-00001-of-00002.gguf", "a-00003-of-00002.gguf"), "", "not there"),
        ([f"m{n}.gguf" for n in range(20)], "", "and 8 more"),
    ],
)
def test_what_is_unclear_is_answered_with_the_choice(paths, rest, words):
    """What can be named instead stands in the answer."""
    found = choose(models_of(paths), parse(f"hf:org/repo{rest}"))

    assert isinstance(found, Unclear) and words in found.problem


_PATHS = st.lists(
    st.from_regex(
        r"(a/)?[abQ48_K-]{0,8}(-0000[0-3]-of-0000[0-3])?\.(gguf|GGUF|txt)", fullmatch=True
    )
)


@given(_PATHS, st.sampled_from(["", "Q4_K", "Q8_0", "A"]), st.sampled_from(["", "a.gguf"]))
def test_only_files_of_the_repository_are_chosen(paths, quant, file):
    """Whatever they are called: whole, in order, each once."""
    found = choose(models_of(paths), Hf("org/repo", "" if file else quant, file))

    if isinstance(found, Model):
        assert set(found.files) <= set(paths)
        assert list(found.files) == sorted(set(found.files))
