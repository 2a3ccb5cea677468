"""Commands that only look: explain, config, events, logs, engine, models, ps."""

import json
import re
import time

import pytest

from rbee.edge.home import Home
from rbee.errors.catalogue import CATALOGUE
from rbee.keeper.commands.explain import page
from tests.keeper.conftest import Rbee, Scripted

WORKER = {
    "id": "w1",
    "pid": 5,
    "port": 6,
    "model": "m",
    "digest": "d",
    "state": "READY",
    "device": "cpu",
    "degraded": "",
    "hive": "h",
    "slots": 4,
    "busy": 1,
    "restarts": 0,
    "mode": "chat",
    "context_tokens": 512,
    "engine": "llama-cpp",
    "build": "b1",
    "memory_bytes": 1 << 30,
    "progress": 0.0,
    "tokens_per_s": 41.2,
    "unloads_in_s": 240.0,
    "problem": None,
}
PS = {
    "queen": {"pid": 1, "url": "http://127.0.0.1:1", "version": "x"},
    "hives": [{"id": "h", "pid": 2, "state": "connected"}],
    "workers": [WORKER],
    "queues": {"m": {"waiting": 2, "limit": 100}},
    "models_unloaded": ["other"],
    "devices_unusable": [],
}


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_has_a_page(code: str) -> None:
    """What, Do and Seen for each row, with no hole left in a sentence."""
    lines = page(CATALOGUE[code], [])
    assert lines[0].startswith(f"{code}   HTTP")
    assert not any("{" in line.replace('{"', "") for line in lines)
    assert lines[-1] == "Seen     never here"


def event(code: str, outcome: str = "ok") -> dict[str, object]:
    return {
        "at": time.time(),
        "code": code,
        "what": "It broke.",
        "done": "mended",
        "outcome": outcome,
        "model": "m",
        "worker": "w1",
        "job": "",
    }


def test_explain_ends_with_when_it_was_seen_here(rbee: Rbee, home: Home) -> None:
    """From this installation's own events; a damaged line is passed over."""
    home.prepare()
    lines = [json.dumps(event("WORKER_KILLED")), "{damaged", json.dumps(event("WORKER_KILLED"))]
    (home.state / "events.jsonl").write_text("\n".join(lines) + "\n")
    done = rbee("explain", "worker-killed")
    assert done.returncode == 0
    assert "Seen     2 times here" in done.stdout
    assert json.loads(rbee("explain", "WORKER_KILLED", "--json").stdout)["seen"] == 2


def test_explain_without_a_code_lists_all(rbee: Rbee) -> None:
    """Every row of the catalogue."""
    shown = rbee("explain").stdout
    assert all(code in shown for code in CATALOGUE)


def test_events_are_read_without_rbee(rbee: Rbee, home: Home) -> None:
    """What happened can be read after the end, by code and by what is open."""
    home.prepare()
    lines = [json.dumps(event("WORKER_KILLED")), json.dumps(event("DISK_FULL", "open"))]
    (home.state / "events.jsonl").write_text("\n".join(lines) + "\n")
    assert "2 faults, 1 need you" in rbee("events").stdout
    assert "NEEDS YOU" in rbee("events", "--open").stdout
    only = rbee("events", "--code", "disk_full", "--json").stdout.splitlines()
    assert [json.loads(line)["code"] for line in only] == ["DISK_FULL"]


def test_what_is_mended_needs_nobody(rbee: Rbee, home: Home) -> None:
    """The end of a fault takes it off the list; another one of the same code stays on it."""
    home.prepare()
    found = [
        {**event("ATTACHED_UNREACHABLE", "open"), "subject": "attached a1"},
        {**event("ATTACHED_UNREACHABLE", "open"), "subject": "attached a2"},
        {**event("ATTACHED_UNREACHABLE", "open"), "subject": "attached a1"},
        event("WORKER_KILLED"),
        {**event("ATTACHED_UNREACHABLE", "ok"), "subject": "attached a1"},
    ]
    (home.state / "events.jsonl").write_text("\n".join(map(json.dumps, found)) + "\n")
    shown = rbee("events").stdout
    assert "5 faults, 1 need you" in shown and shown.count("over by now") == 2
    (left,) = rbee("events", "--open", "--json").stdout.splitlines()
    assert json.loads(left)["subject"] == "attached a2"


def test_config_show_names_each_origin(rbee: Rbee, home: Home) -> None:
    """File, variable, default."""
    home.root.mkdir()
    home.config.write_text("[limits]\nqueue = 7\n[models.a]\nsource = 'file:///x'\n")
    lines = rbee("config", "show", "--json", env={"RBEE_LIMITS_STALL": "9s"}).stdout.splitlines()
    shown = {one["key"]: (one["value"], one["origin"]) for one in map(json.loads, lines)}
    assert shown["limits.queue"] == (7, "rbee.toml")
    assert shown["limits.stall"] == ("9s", "RBEE_LIMITS_STALL")
    assert shown["limits.total"] == ("none", "default")
    assert shown["models.a.source"] == (["file:///x"], "rbee.toml")
    assert "limits.queue" in rbee("config", "show").stdout


def test_config_check_says_what_is_wrong(rbee: Rbee, home: Home) -> None:
    """A wrong file ends with 2 and the place; a variable that sets nothing is told."""
    home.root.mkdir()
    home.config.write_bytes(b"\xff")
    done = rbee("config", "check")
    assert (done.returncode, "UTF-8" in done.stderr) == (2, True)
    home.config.write_text("")
    done = rbee("config", "check", env={"RBEE_DRIAN_S": "1"})
    assert (done.returncode, "nearest: RBEE_DRAIN_S" in done.stderr) == (0, True)


def test_config_check_refuses_what_up_refuses(rbee: Rbee, home: Home) -> None:
    """An address that others reach, as long as there is no key; keys that cannot be read."""
    home.prepare()
    home.config.write_text('listen = "0.0.0.0:7833"\n')
    done = rbee("config", "check")
    assert (done.returncode, "BIND_REFUSED" in done.stderr) == (2, True)
    rbee("keys", "create")
    assert rbee("config", "check").returncode == 0
    home.config.write_text("")
    home.keys_file.write_text("{")
    done = rbee("config", "check")
    assert (done.returncode, "KEYS_DAMAGED" in done.stderr) == (2, True)


def test_a_choice_of_engine_must_be_an_engine(rbee: Rbee, home: Home) -> None:
    """What is no llama-server is refused, and the choice stays as it was."""
    for path in ("/nowhere/llama-server", "/bin/cat"):
        done = rbee("engine", "use", path)
        assert (done.returncode, "ENGINE_MISSING" in done.stderr) == (1, True)
    assert not (home.state / "engine_path").exists()


def test_engine_list_shows_build_and_devices(rbee: Rbee) -> None:
    """Of the built-in engine at least; the one in use is marked."""
    views = [json.loads(line) for line in rbee("engine", "list", "--json").stdout.splitlines()]
    assert views[0]["kind"] == "llama-cpp"
    assert views[0]["used"] is True


def test_ps_shows_one_line_per_worker(rbee: Rbee, scripted: Scripted) -> None:
    """What runs where, and models that load when asked; --json is the contract as it is."""
    scripted.say("/rbee/ps", PS)
    shown = rbee("ps").stdout.splitlines()
    assert shown[1].split() == [
        *("m", "w1", "cpu", "ready", "1/4", "2", "41", "512", "1.0", "GiB", "in", "4", "m"),
    ]
    assert "unloaded" in shown[2]
    assert json.loads(rbee("ps", "--json").stdout) == PS


def test_ps_says_who_gets_less_and_how_long_the_line_is(rbee: Rbee, scripted: Scripted) -> None:
    """A worker that is cut off, one that is slow, and the wait of one more request."""
    ill = {"breaker": "open", "share": 0.0, "retry_in_s": 7.0, "slow": None}
    slow = {"what": "first token", "own_s": 4.0, "peers_s": 0.5}
    workers = [
        {**WORKER, "health": ill},
        {**WORKER, "id": "w2", "health": {**ill, "breaker": "closed", "slow": slow}},
    ]
    queues = {"m": {"waiting": 2, "limit": 100, "expected_wait_s": 31.0}}
    scripted.say("/rbee/ps", {**PS, "workers": workers, "queues": queues})
    shown = rbee("ps").stdout

    assert "ready, cut off" in shown and "2, 31 s" in shown
    assert "m (w1) failed too often; tried again in 7.0 s" in shown
    assert "m (w2) is slow, first token 4.0 s against 0.5 s of its peers" in shown


def test_ps_says_which_devices_rest_or_are_hot(rbee: Rbee, scripted: Scripted) -> None:
    """Why, and when they are looked for again."""
    well = {"id": "cpu", "rests": "", "rests_until": 0.0, "hot": False, "celsius": 0}
    lost = {**well, "id": "cuda:0", "rests": "it was lost", "rests_until": time.time() + 50}
    hot = {**well, "id": "cuda:1", "hot": True, "celsius": 95}
    scripted.say("/rbee/ps", {**PS, "devices": [well, lost, hot]})
    shown = rbee("ps").stdout
    assert re.search(r"cuda:0 rests, looked for again in \d\d s: it was lost", shown)
    assert "cuda:1 is too hot: 95 °C" in shown and "cpu rests" not in shown


def test_stop_tells_workers_from_models(rbee: Rbee, scripted: Scripted) -> None:
    """A worker's id means that worker, any other name a model."""
    scripted.say("/rbee/ps", PS)
    scripted.say("/rbee/stop", {"stopped": ["w1"]})
    assert "stopped w1" in rbee("stop", "w1").stderr
    assert scripted.body("/rbee/stop") == {"worker": "w1"}
    assert rbee("stop", "m").returncode == 0
    assert scripted.body("/rbee/stop") == {"model": "m"}
    assert rbee("stop", "--all").returncode == 0
    assert scripted.body("/rbee/stop") == {"all": True}


def test_logs_are_shown_in_words_of_the_screen(rbee: Rbee, home: Home) -> None:
    """Each line with the part that wrote it."""
    home.prepare()
    (home.logs / "queen.log").write_text("one\ntwo\n")
    (home.logs / "hive.log").write_text("three\n")
    assert rbee("logs", "--lines", "1").stdout.splitlines() == ["rbee     two", "machine  three"]


def test_chat_takes_lines_until_the_end(rbee: Rbee, scripted: Scripted) -> None:
    """Each line is answered with what was said before it; /clear forgets, /bye ends."""
    scripted.chunks({"choices": [{"delta": {"content": "Hi."}, "finish_reason": "stop"}]})
    done = rbee("chat", "-m", "m", stdin="hello\nand?\n/clear\nnew\n/bye\nnever\n")
    assert (done.returncode, done.stdout) == (0, "Hi.\nHi.\nHi.\n")
    asked = [body["request"]["messages"] for path, body in scripted.asked if path == "/v1/jobs"]
    assert [len(messages) for messages in asked] == [1, 3, 1]
    assert asked[1][1] == {"role": "assistant", "content": "Hi."}
