"""`rbee workers attach` and `detach`: what they ask and what they print."""

import json
from pathlib import Path

from tests.keeper.conftest import Rbee, Scripted

TOLD = {"worker": "a1", "model": "mine", "theirs": "big/m", "address": "http://h:1/v1"}


def test_attach_says_who_serves_what_from_where(rbee: Rbee, scripted: Scripted) -> None:
    """Only what was said is asked; a key file is named by its whole path."""
    scripted.say("/rbee/workers/attach", TOLD)
    done = rbee("workers", "attach", "http://h:1/v1", "--model", "mine", "--key-file", "k")
    assert done.returncode == 0
    assert "a1 serves mine (there: big/m) from http://h:1/v1" in done.stderr
    asked = scripted.body("/rbee/workers/attach")
    assert (asked["url"], asked["model"], asked["slots"]) == ("http://h:1/v1", "mine", 0)
    assert asked["key_file"] == str(Path("k").absolute()) and asked["key_env"] == ""


def test_detach_takes_an_id_or_an_address(rbee: Rbee, scripted: Scripted) -> None:
    """With `--json` the ids are on stdout."""
    scripted.say("/rbee/workers/detach", {"detached": ["a1"]})
    done = rbee("workers", "detach", "http://h:1/v1", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"detached": ["a1"]})
    assert scripted.body("/rbee/workers/detach") == {"worker": "http://h:1/v1"}
