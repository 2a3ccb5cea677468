"""Promises about a configuration that changes while a process runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbee.edge.config_file import load_settings
from rbee.edge.config_watch import ConfigWatch
from rbee.edge.home import Home
from rbee.errors import RbeeError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _watch(home: Home) -> ConfigWatch:
    return ConfigWatch(home, load_settings(home))


def test_a_change_holds_from_the_next_look_on(home: Home) -> None:
    """Said once; looking again changes nothing."""
    watch = _watch(home)
    home.config.write_text("[limits]\nqueue = 7\n")
    assert watch.look()
    assert watch.now.limits.queue == 7
    assert not watch.look()
    home.config.unlink()
    assert watch.look()
    assert watch.now.limits.queue == 100


def test_a_mistake_is_told_once_and_changes_nothing(home: Home) -> None:
    """What held before holds on until the file is right."""
    home.config.write_text("[limits]\nqueue = 7\n")
    watch = _watch(home)
    home.config.write_text("[limits]\nqueu = 8\n")
    with pytest.raises(RbeeError) as caught:
        watch.look()
    assert caught.value.code == "CONFIG_INVALID"
    assert not watch.look()
    assert watch.now.limits.queue == 7


def test_what_is_in_use_stays(home: Home) -> None:
    """Address and folder of the models are those of the start; a touch alone is no change."""
    watch = _watch(home)
    home.config.write_text('listen = "127.0.0.1:9999"\nmodels_dir = "/elsewhere"\n')
    assert not watch.look()
    assert (watch.now.port, watch.now.models_dir) == (7833, "")
