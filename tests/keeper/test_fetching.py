"""What a person sees of a download: how fast it is now, and which names mean a path."""

import os

import pytest

from rbee.keeper.fetching import Pace, full_name


def test_the_rate_is_that_of_the_last_seconds():
    """What was here before a resumed download began is no speed, and a pause long ago is none."""
    pace = Pace(window_s=5.0)

    assert pace.rate("fetching", 900, 0.0) == 0.0
    assert pace.rate("fetching", 1000, 1.0) == 100.0
    for second in range(2, 8):
        last = pace.rate("fetching", 1000 + 10 * (second - 1), float(second))

    assert last == pytest.approx(10.0)


def test_a_new_phase_begins_anew():
    """Verifying is not as fast as fetching was; neither is a file that is fetched once more."""
    pace = Pace()
    pace.rate("fetching", 0, 0.0)
    pace.rate("fetching", 500, 1.0)

    assert pace.rate("verifying", 400, 2.0) == 0.0
    assert pace.rate("verifying", 100, 3.0) == 0.0
    assert pace.rate("verifying", 300, 4.0) == 200.0


@pytest.mark.parametrize("typed", ["x.gguf", "./x.gguf", "../y/x.gguf", "/y/x.gguf"])
def test_a_path_is_made_absolute(typed):
    """rbee runs in another folder than the person."""
    assert full_name(typed) == os.path.abspath(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "smollm2:135m",
        "hf:org/repo:Q4_K_M",
        "hf:org/repo:a/x.gguf",
        "pypi:dist==1:a/x.gguf",
        "https://host/x.gguf",
        "ollama:tiny:1b",
    ],
)
def test_a_name_of_a_source_stays_as_it_is(typed):
    """Also one that ends like a file's."""
    assert full_name(typed) == typed
