"""Names that can be asked for."""

from types import MappingProxyType

import pytest

from rbee.errors import RbeeError
from rbee.queen.served_models import Attached, ServedModels, listing
from rbee.settings import ModelSettings, Settings
from rbee.wire.control import ModelView

SMOL = ModelView(
    "smollm2:135m", "smollm2:135m", 1, "sha256:b1", "pypi", 5.0, context_train_tokens=2048
)


def directory(**blocks):
    return ServedModels(Settings(home="/x", models=MappingProxyType(blocks)))


def test_a_stored_model_can_be_asked_for_by_its_name():
    """What is stored is servable, with the context it was trained for."""
    served = directory().find("smollm2:135m", (SMOL,))

    assert served.ref == "smollm2:135m" and served.context_tokens == 2048
    entry = next(listing(served))
    assert entry["id"] == "smollm2:135m" and entry["context_length"] == 2048
    assert entry["created"] == 5 and entry["owned_by"] == "rbee"


def test_an_unknown_name_is_told_the_nearest():
    """A typing error costs one look, not a search."""
    with pytest.raises(RbeeError) as caught:
        directory().find("smolm2:135", (SMOL,))

    assert caught.value.code == "MODEL_NOT_FOUND"
    assert caught.value.facts["nearest"] == ["smollm2:135m"]


def test_a_declared_model_has_its_name_aliases_and_settings():
    """The block's name and aliases lead to the stored file; its settings make the wish."""
    block = ModelSettings(
        name="coder", source=("smollm2:135m",), aliases=("gpt-4o-mini",), ctx=512, args=("--x",)
    )
    models = directory(coder=block)

    assert models.find("gpt-4o-mini", (SMOL,)).name == "coder"
    wish = models.find("coder", (SMOL,)).wish("chat")
    assert (wish.name, wish.ref, wish.ctx, wish.args) == ("coder", "smollm2:135m", 512, ("--x",))
    assert models.find("smollm2:135m", (SMOL,)).name == "smollm2:135m"
    assert [entry["id"] for one in models.all((SMOL,)) for entry in listing(one)] == [
        "coder",
        "gpt-4o-mini",
    ]


def test_a_declared_model_is_known_before_it_is_stored():
    """Declared is leave to fetch it at its first request."""
    block = ModelSettings(name="coder", source=("smollm2:135m",))

    assert directory(coder=block).find("coder", ()).stored is None


def test_a_pin_is_held_to():
    """The stored digest answers to its own pin, by name and by alias; another one is refused."""
    block = ModelSettings(name="coder", source=("smollm2:135m",), aliases=("gpt",))
    models = directory(coder=block)

    served = models.find("gpt@sha256:b1", (SMOL,))
    assert served.name == "coder" and served.pin == "sha256:b1"
    with pytest.raises(RbeeError) as caught:
        models.find("coder@sha256:b2", (SMOL,))

    assert caught.value.code == "MODEL_VERSION_MISMATCH"
    assert caught.value.facts == {"model": "coder", "wanted": "sha256:b2", "found": "sha256:b1"}


def test_a_worker_of_another_version_is_told_apart():
    """What a worker loaded is held against the pin too; without a pin anything goes."""
    pinned = directory().find("smollm2:135m@sha256:b1", (SMOL,))
    pinned.check("sha256:b1")
    with pytest.raises(RbeeError):
        pinned.check("sha256:old")

    directory().find("smollm2:135m", (SMOL,)).check("sha256:old")


def test_a_pin_of_the_toml_is_held_to():
    """A block that pins its source serves that version alone; the store's acts see any version."""
    good = ModelSettings(name="good", source=("smollm2:135m@sha256:b1",))
    other = ModelSettings(name="other", source=("smollm2:135m@sha256:b2",))
    models = directory(good=good, other=other)

    assert models.find("good", (SMOL,)).pin == "sha256:b1"
    for name in ("other", "other@sha256:b1"):
        with pytest.raises(RbeeError) as caught:
            models.find(name, (SMOL,))
        assert caught.value.code == "MODEL_VERSION_MISMATCH"
    assert models.any_version("other", (SMOL,)).ref == "smollm2:135m"
    assert models.find("other", ()).ref == "smollm2:135m@sha256:b2"


def test_what_an_attached_server_has_can_be_asked_for_without_being_stored():
    """With its context and the time of attaching; a stored model of that name keeps its own."""
    known = directory()
    known.attached["hermes"] = Attached(8192, 9.5)
    known.attached["smollm2:135m"] = Attached(1, 1.0)

    served = known.find("hermes", (SMOL,))
    assert served.stored is None and served.attached and not served.declared
    entry = next(listing(served))
    assert (entry["context_length"], entry["created"]) == (8192, 9)
    assert known.find("smollm2:135m", (SMOL,)).stored is SMOL
    assert [one.name for one in known.all((SMOL,))] == ["smollm2:135m", "hermes"]
