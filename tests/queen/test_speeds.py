"""How fast prompts are read."""

import pytest

from rbee.queen.speeds import PromptSpeeds
from rbee.wire.llama_server import PromptProgress


@pytest.mark.parametrize(
    ("prompt", "speed"),
    [
        (PromptProgress(100, 0, 100, 1000.0), 100.0),
        (PromptProgress(100, 50, 100, 500.0), 100.0),
        (PromptProgress(100, 90, 100, 500.0), 0.0),
        (PromptProgress(100, 0, 100, 0.0), 0.0),
    ],
)
def test_speed_is_measured_on_what_was_computed(prompt, speed):
    """Tokens from the cache, and too few, say nothing."""
    speeds = PromptSpeeds()
    speeds.measured("w1", prompt)

    assert speeds.of("w1") == speed
    speeds.forget("w1")
    assert speeds.of("w1") == 0.0


def test_the_newest_speed_counts_and_not_alone():
    """One slow answer does not make a slow worker."""
    speeds = PromptSpeeds()
    for time_ms in (1000.0, 2000.0):
        speeds.measured("w1", PromptProgress(100, 0, 100, time_ms))

    assert speeds.of("w1") == pytest.approx(85.0)
