"""A request that took workers down is known again."""

import pytest

from rbee.errors import RbeeError
from rbee.queen.poison import REMEMBERED_S, Poison

REPORT = RbeeError(
    "REQUEST_QUARANTINED", model="tiny", deaths=2, worker="w2", last="It died."
).report


def test_the_same_prompt_is_refused_for_a_while():
    """Same model and prompt: the same error, without a worker; others are not touched."""
    now = [0.0]
    poison = Poison(lambda: now[0])
    poison.remember("tiny", 7, REPORT)

    poison.check("tiny", 8)
    poison.check("other", 7)
    with pytest.raises(RbeeError, match="It died"):
        poison.check("tiny", 7)
    now[0] = REMEMBERED_S
    poison.check("tiny", 7)


def test_a_prompt_that_cannot_be_known_again_is_not():
    """No mark would be everybody's."""
    poison = Poison(lambda: 0.0)
    poison.remember("tiny", 0, REPORT)

    poison.check("tiny", 0)


def test_serving_the_model_anew_gives_everybody_another_chance():
    """The cause may be mended."""
    poison = Poison(lambda: 0.0)
    poison.remember("tiny", 7, REPORT)
    poison.remember("other", 7, REPORT)
    poison.forget("tiny")

    poison.check("tiny", 7)
    with pytest.raises(RbeeError):
        poison.check("other", 7)


def test_the_memory_is_bounded():
    """The oldest is forgotten first."""
    poison = Poison(lambda: 0.0)
    for number in range(257):
        poison.remember("tiny", number + 1, REPORT)

    poison.check("tiny", 1)
    with pytest.raises(RbeeError):
        poison.check("tiny", 2)
