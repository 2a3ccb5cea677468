"""Which names a person types mean a file of this machine."""

import os

import pytest

from rbee.keeper.fetching import full_name


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
