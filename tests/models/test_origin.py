"""A name leads to all sources of its model, and to the digest that it must have."""

import pytest

from rbee.errors import RbeeError
from rbee.models import names
from rbee.models.catalogue import entries
from rbee.models.origin import origin_of
from rbee.settings import ModelSettings

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def block(*sources: str) -> dict[str, ModelSettings]:
    return {"mine": ModelSettings(name="mine", source=sources)}


def test_a_name_of_the_catalogue_has_the_catalogue_s_sources():
    """With the digest that was checked by hand, and the size before anybody is asked."""
    name, entry = next(iter(entries().items()))
    found = origin_of(names.Plain(name), {})

    assert (found.name, found.ref, found.digest) == (name, name, entry.digest)
    assert (found.sources, found.size_bytes) == (tuple(entry.sources), entry.size_bytes)
    assert not found.moves


@pytest.mark.parametrize(
    ("text", "code"), [("smollm2:134m", "MODEL_NOT_FOUND"), (f"@{A}", "MODEL_VERSION_MISMATCH")]
)
def test_what_the_catalogue_does_not_have_is_told(text, code):
    """A typing error with the nearest names; a pin of another version with both digests."""
    name = names.parse(next(iter(entries())) + text if text.startswith("@") else text)
    assert isinstance(name, names.Plain)
    with pytest.raises(RbeeError) as caught:
        origin_of(name, {})

    assert caught.value.code == code
    assert caught.value.facts.get("nearest", ["smollm2:135m"]) == ["smollm2:135m"]


def test_a_name_that_nobody_knows_is_not_advised_again():
    """What to do next is not the very command that failed; it shows what can be pulled."""
    with pytest.raises(RbeeError) as caught:
        origin_of(names.Plain("grok9000"), {})

    report = caught.value.report
    assert "grok9000" not in report.action
    assert "hf:" in report.action and next(iter(entries())) in report.action


def test_a_source_stands_for_itself():
    """Found again without its digest; one whose bytes may change tomorrow says so."""
    found = origin_of(names.parse("hf:org/repo:Q4_0"), {})
    assert found.sources == (found.ref,) == ("hf:org/repo:Q4_0",)
    assert found.moves and not found.digest

    assert found.told == "hf:org/repo:Q4_0"
    pinned = origin_of(names.parse(f"https://host/x.gguf#{A.replace(':', '=')}"), {})
    assert (pinned.ref, pinned.digest, pinned.moves) == ("https://host/x.gguf", A, False)
    assert pinned.told == "x"
    assert not origin_of(names.parse("pypi:dist==1.0:a/b.gguf"), {}).moves


def test_sources_of_one_block_stand_together():
    """Whichever of them is asked for comes first, the digest of any of them holds for all."""
    blocks = block("ollama:tiny:1b", f"https://host/x.gguf@{A}", "file:///data/x.gguf")
    found = origin_of(names.parse("ollama:tiny:1b"), blocks)

    assert found.sources == ("ollama:tiny:1b", "https://host/x.gguf")
    assert found.digest == A
    assert origin_of(names.parse("https://host/x.gguf"), blocks).sources[1] == "ollama:tiny:1b"


def test_a_name_of_the_catalogue_may_be_a_further_source():
    """It brings the catalogue's sources along."""
    entry = entries()["smollm2:135m"]
    found = origin_of(
        names.parse("https://host/x.gguf"), block("https://host/x.gguf", "smollm2:135m")
    )

    assert found.sources == ("https://host/x.gguf", *entry.sources)
    assert found.digest == entry.digest


def test_sources_that_cannot_be_one_model_are_refused():
    """Two digests are two models."""
    blocks = block(f"ollama:tiny:1b@{A}", f"https://host/x.gguf@{B}")
    with pytest.raises(RbeeError) as caught:
        origin_of(names.parse("ollama:tiny:1b"), blocks)

    assert caught.value.code == "MODEL_NAME_INVALID"
