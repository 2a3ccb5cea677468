"""Commands that look after the store: what they ask, what they print, how they end."""

import json
from typing import Any

from tests.keeper.conftest import Rbee, Scripted

MODEL = {
    "name": "a",
    "ref": "a",
    "size_bytes": 96 << 20,
    "digest": "sha256:1",
    "source": "hf:x/y",
    "quantisation": "Q4_1",
    "context_train_tokens": 2048,
    "added_at": 0.0,
    "used_at": 0.0,
    "pinned": True,
}


def lines(*values: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() + b"\n" for value in values)


def verified(**facts: Any) -> dict[str, Any]:
    found = {"model": MODEL, "chunks": 6, "rotted": 0, "fetched_bytes": 0, "whole": False}
    return {"done": {**found, **facts}}


def test_verify_says_what_was_mended(rbee: Rbee, scripted: Scripted) -> None:
    """A mended model is no failure; a whole one is one line."""
    scripted.say("/rbee/models", {"models": [MODEL]})
    scripted.stream("/rbee/models/verify", *lines(verified()))
    done = rbee("models", "verify", "a")
    assert (done.returncode, "96.0 MiB in 6 chunks, sha256 right" in done.stderr) == (0, True)
    scripted.stream("/rbee/models/verify", *lines(verified(rotted=1, fetched_bytes=16 << 20)))
    done = rbee("models", "verify", "--all")
    assert "1 of 6 chunks was damaged; 16.0 MiB fetched again" in done.stderr
    assert "1 models: 0 whole, 1 mended, 0 not usable" in done.stderr
    assert done.returncode == 0


def test_verify_ends_as_the_worst_of_all(rbee: Rbee, scripted: Scripted) -> None:
    """Every model is looked at; one that is damaged decides the exit code."""
    scripted.say("/rbee/models", {"models": [MODEL, {**MODEL, "name": "b"}]})
    error = {"error": {"code": "MODEL_CORRUPTED", "message": "The file of a is damaged."}}
    scripted.stream("/rbee/models/verify", *lines(error))
    done = rbee("models", "verify", "--all")
    assert done.returncode == 1
    assert done.stderr.count("MODEL_CORRUPTED") == 2
    assert "2 not usable" in done.stderr


def test_prune_changes_nothing_without_a_word(rbee: Rbee, scripted: Scripted) -> None:
    """Sizes before and after, what stays and why, and the command that does it."""
    found = {"chosen": [MODEL], "before_bytes": 3 << 30, "after_bytes": 1 << 30}
    scripted.say("/rbee/models/prune", {**found, "kept": {"b": "loaded"}})
    told = rbee("models", "prune", "--keep", "2GiB").stderr
    assert scripted.body("/rbee/models/prune") == {"keep_bytes": 2 << 30, "remove": False}
    assert "would be removed" in told and "b   stays: loaded" in told
    assert "3.0 GiB before, 1.0 GiB after" in told and "prune --keep 2GiB --yes" in told
    rbee("models", "prune", "--keep", "2GiB", "--yes")
    assert scripted.body("/rbee/models/prune")["remove"] is True


def test_import_says_where_this_shell_keeps_them(rbee: Rbee, scripted: Scripted) -> None:
    """The folder is that of the caller's variables; a refusal is told and ends with 1."""
    bad = {"code": "MODEL_CORRUPTED", "message": "it is no model file"}
    base = {"size_bytes": 1 << 20, "problem": None, "digest_known": True}
    found = [
        {**base, "path": "/o/a", "name": "a:1", "outcome": "linked"},
        {**base, "path": "/o/b", "name": "b:1", "outcome": "here", "digest_known": False},
        {**base, "path": "/o/c", "name": "c:1", "outcome": "refused", "problem": bad},
    ]
    scripted.stream("/rbee/models/import", *lines({"done": found}))
    done = rbee("models", "import", "ollama", env={"OLLAMA_MODELS": "/o"})
    assert scripted.body("/rbee/models/import") == {"what": "ollama=/o"}
    assert done.returncode == 1
    assert "a:1   1.0 MiB, linked, not copied, sha256 verified" in done.stderr
    assert "b:1   1.0 MiB, was here already, no known digest: structure only" in done.stderr
    assert "3 found: 1 linked, 1 refused" in done.stderr


def test_list_shows_what_belongs_to_no_model(rbee: Rbee, scripted: Scripted) -> None:
    """Unnamed files with the command that removes them; partial downloads with their fate."""
    left = {"name": "sha256:ab", "size_bytes": 5 << 20, "touched_at": 0.0, "busy": False}
    part = {"name": "key", "size_bytes": 1 << 20, "touched_at": 0.0, "busy": True}
    scripted.say("/rbee/models", {"models": [MODEL]})
    scripted.say("/rbee/models/stock", {"free_bytes": 1, "unnamed": [left], "partials": [part]})
    told = rbee("models", "list").stdout
    assert "hf:x/y (pinned)" in told
    assert "(unnamed sha256-ab)  5.0 MiB  rbee models rm sha256:ab" in told
    assert "(partial key)  1.0 MiB  under way" in told
    said = [json.loads(line) for line in rbee("models", "list", "--json").stdout.splitlines()]
    assert [sorted(one)[0] for one in said[1:]] == ["unnamed", "partial"]


def test_a_pin_is_a_word(rbee: Rbee, scripted: Scripted) -> None:
    """Said, and taken back."""
    scripted.say("/rbee/models/pin", MODEL)
    assert "a is never pruned" in rbee("models", "pin", "a").stderr
    assert scripted.body("/rbee/models/pin") == {"name": "a", "pinned": True}
    assert "a may be pruned" in rbee("models", "unpin", "a").stderr
    assert scripted.body("/rbee/models/pin") == {"name": "a", "pinned": False}


def test_outdated_names_what_is_newer_elsewhere(rbee: Rbee, scripted: Scripted) -> None:
    """Both versions, and the sources that could not be asked."""
    base = {"digest": "sha256:old", "now_digest": "", "now_revision": "", "problem": None}
    problem = {"code": "SOURCE_UNREACHABLE", "message": "no route"}
    found = [
        {**base, "name": "a", "now_digest": "sha256:new", "outdated": True},
        {**base, "name": "b", "outdated": False, "problem": problem},
    ]
    scripted.say("/rbee/models/outdated", {"models": found})
    told = rbee("models", "list", "--outdated").stdout
    assert "a   sha256:old here, sha256:new at its source" in told
    assert "b   could not be asked for: no route" in told
    assert "2 asked for, 1 outdated" in told
