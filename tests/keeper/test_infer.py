"""`rbee infer` against a scripted rbee: what reaches stdout, and what counts as an answer."""

import json
import signal
import subprocess
import sys

import pytest

from rbee.edge.home import Home
from rbee.version import VERSION
from tests.keeper.conftest import FOLLOW, JOB, STATUS, Rbee, Scripted, environment


def piece(content: str | None, finish: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": content}, "finish_reason": finish}], **more}


def test_stdout_holds_the_answer_and_nothing_else(rbee: Rbee, scripted: Scripted) -> None:
    """A warm answer prints only itself."""
    scripted.chunks(piece("Blue"), piece(" sky."), piece(None, "stop", rbee={"device": "cpu"}))
    done = rbee(
        "infer", "-m", "m", "-p", "Why?", "--max-tokens", "9", "--seed", "4", "--temperature", "0"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Blue sky.\n", "")
    asked = scripted.request()
    assert asked["messages"] == [{"role": "user", "content": "Why?"}]
    assert (asked["max_tokens"], asked["seed"], asked["temperature"]) == (9, 4, 0)


def test_the_prompt_comes_from_stdin(rbee: Rbee, scripted: Scripted) -> None:
    """`-p -`, or nothing at all in a pipe."""
    scripted.chunks(piece("x", "stop"))
    for arguments in (["-p", "-"], []):
        assert rbee("infer", *arguments, stdin="from a pipe").returncode == 0
        sent = scripted.request()["messages"][0]["content"]
        assert sent == "from a pipe"


@pytest.mark.parametrize("done_mark", [True, False])
def test_an_end_without_a_finish_is_a_failure(
    rbee: Rbee, scripted: Scripted, done_mark: bool
) -> None:
    """`[DONE]` or the end of the stream alone is no success; what came is kept."""
    scripted.chunks(piece("Blue"), done=done_mark)
    done = rbee("infer", "-p", "x")
    assert done.returncode == 1
    assert done.stdout.startswith("Blue\n")
    assert "WORKER_LOST" in done.stderr
    partial = scripted.home.root / "partials" / f"{JOB}.txt"
    assert (partial.read_text(), partial.stat().st_mode & 0o777) == ("Blue", 0o600)
    assert str(partial) in done.stderr


def test_a_cut_connection_is_taken_up(rbee: Rbee, scripted: Scripted) -> None:
    """rbee broke off in the middle: the answer goes on after the last event, nothing twice."""
    scripted.chunks(piece("Blue"), done=False, cut=True)
    scripted.then_chunks(2, piece(" sky."), piece(None, "stop"))
    done = rbee("infer", "-p", "x")
    assert (done.returncode, done.stdout) == (0, "Blue sky.\n")
    assert scripted.last_ids == ["1-0"]
    assert "goes on" not in done.stdout and "asked to go on" in done.stderr


def test_a_cut_connection_is_a_failure(rbee: Rbee, scripted: Scripted) -> None:
    """What breaks off again and again is given up: 255."""
    scripted.chunks(piece("Blue"), done=False, cut=True)
    scripted.later[FOLLOW] = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    done = rbee("infer", "-p", "x")
    assert (done.returncode, "CONNECTION_LOST" in done.stderr) == (255, True)
    assert done.stdout.startswith("Blue\n") and len(scripted.last_ids) == 5


def test_a_request_that_was_cut_is_sent_again_under_its_key(rbee: Rbee, scripted: Scripted) -> None:
    """Whether rbee had taken it or not, it runs once: the key says that it is the same."""
    scripted.chunks(piece("x", "stop"))
    scripted.later["/v1/jobs"] = [scripted.answers["/v1/jobs"]]
    scripted.answers["/v1/jobs"] = b""
    done = rbee("infer", "-p", "x")
    assert (done.returncode, done.stdout) == (0, "x\n")
    assert len(scripted.keys) == 2 and len(set(scripted.keys)) == 1


def test_a_disk_that_keeps_no_jobs_costs_no_answer(rbee: Rbee, scripted: Scripted) -> None:
    """It comes as a plain stream, and that is told."""
    full = {"code": "DISK_FULL", "message": "4.0 KiB are needed and 0 B are free."}
    scripted.say("/v1/jobs", {"error": full}, 507)
    events = [f"data: {json.dumps(one)}\n\n" for one in (piece("Hi"), piece(None, "stop"))]
    scripted.stream("/v1/chat/completions", *(one.encode() for one in events))
    done = rbee("infer", "-p", "x")
    assert (done.returncode, done.stdout) == (0, "Hi\n")
    assert "4.0 KiB" in done.stderr


def test_an_error_event_has_its_exit_code(rbee: Rbee, scripted: Scripted) -> None:
    """A worker that was killed, unrepaired: 137, with code and job."""
    error = {
        "code": "WORKER_KILLED",
        "message": "It was killed.",
        "job_id": "job_7",
        "means": "So.",
    }
    scripted.chunks(piece("Blue"), {"error": error})
    done = rbee("infer", "-p", "x")
    assert done.returncode == 137
    assert "x It was killed.\n  So.\n  WORKER_KILLED · job_7" in done.stderr


def test_a_code_of_a_newer_rbee_survives(rbee: Rbee, scripted: Scripted) -> None:
    """A code that this command does not know is shown as it is."""
    scripted.say("/v1/jobs", {"error": {"code": "NEW_THING", "message": "New."}}, 504)
    done = rbee("infer", "-p", "x")
    assert (done.returncode, "NEW_THING" in done.stderr) == (124, True)


def test_a_model_that_is_not_stored_is_fetched(rbee: Rbee, scripted: Scripted) -> None:
    """`infer` pulls, says so, and asks under the stored name."""
    missing = {"error": {"code": "MODEL_NOT_FOUND", "message": "There is no model new."}}
    scripted.say("/v1/jobs", missing, 404)
    view = {"name": "new", "size_bytes": 1, "source": "pypi:x"}
    lines = (
        json.dumps({"progress": {"phase": "fetching", "done_bytes": 1, "total_bytes": 2}}),
        json.dumps({"done": view}),
    )
    scripted.stream("/rbee/models/pull", *(line.encode() + b"\n" for line in lines))
    done = rbee("infer", "-m", "new", "-p", "x")
    assert "+ new   1 B, sha256 verified" in done.stderr
    assert scripted.body("/rbee/models/pull") == {"name": "new"}
    assert (done.returncode, "MODEL_NOT_FOUND" in done.stderr) == (1, True)


def test_json_gives_pieces_and_a_summary(rbee: Rbee, scripted: Scripted) -> None:
    """One object a line: each piece of text, then what it was like."""
    scripted.chunks(
        piece("Bl"),
        piece("ue"),
        piece(None, "length"),
        {"choices": [], "usage": {"completion_tokens": 7}},
    )
    done = rbee("infer", "-p", "x", "--json")
    first, second, last = (json.loads(line) for line in done.stdout.splitlines())
    assert (first, second) == ({"text": "Bl"}, {"text": "ue"})
    assert last["done"]["text"] == "Blue"
    assert (last["done"]["tokens"], last["done"]["finish_reason"]) == (7, "length")


def test_another_version_is_named(rbee: Rbee, scripted: Scripted) -> None:
    """This command and the rbee that runs must be of one version; both are told."""
    scripted.say("/rbee/status", {**STATUS, "version": "9.9.9"})
    for arguments in (["infer", "-p", "x"], ["ps"], ["up", "--detach"]):
        done = rbee(*arguments)
        assert done.returncode == 1
        assert "VERSION_MISMATCH" in done.stderr
        assert VERSION in done.stderr
        assert "9.9.9" in done.stderr


def test_a_gpu_that_cannot_be_used_is_told_every_time(rbee: Rbee, scripted: Scripted) -> None:
    """Until it is mended, or cpu is chosen in the configuration."""
    gpu = {"id": "gpu:0", "name": "RTX 3090", "usable": False, "advice": "rbee engine use PATH"}
    scripted.say("/rbee/status", {**STATUS, "devices": [gpu]})
    scripted.chunks(piece("x", "stop"))
    assert "RTX 3090 is here" in rbee("infer", "-p", "x").stderr
    assert rbee("infer", "-p", "x", env={"RBEE_ENGINE_BACKEND": "cpu"}).stderr == ""


def test_a_device_is_served_first(rbee: Rbee, scripted: Scripted) -> None:
    """`--device` wishes a worker there before the question is asked, and not for ever."""
    scripted.say("/rbee/ps", {"workers": []})
    scripted.stream("/rbee/serve", b'{"done": {"workers": []}}\n')
    scripted.chunks(piece("x", "stop"))
    assert rbee("infer", "-m", "m", "-p", "x", "--device", "cpu").returncode == 0
    wish = {"model": "m", "device": "cpu", "wait": True, "keep_alive_s": 300.0}
    assert scripted.body("/rbee/serve") == wish


def test_a_device_that_is_not_here_touches_nothing(rbee: Rbee, scripted: Scripted) -> None:
    """The refusal comes before any wish: workers that run are left alone."""
    cpu = {"id": "cpu", "name": "CPU", "usable": True, "advice": ""}
    scripted.say("/rbee/status", {**STATUS, "devices": [cpu]})
    scripted.say("/rbee/ps", {"workers": []})
    done = rbee("infer", "-m", "m", "-p", "x", "--device", "cuda:0")
    assert (done.returncode, "DEVICE_UNAVAILABLE" in done.stderr) == (1, True)
    assert not [path for path, _ in scripted.asked if path == "/rbee/serve"]


def test_ctrl_c_cancels_the_job_and_ends_with_130(home: Home, scripted: Scripted) -> None:
    """The connection closes and the job is cancelled; no traceback."""
    scripted.hold(piece("Blue"))
    process = subprocess.Popen(
        [sys.executable, "-m", "rbee.keeper", "infer", "-p", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(home),
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == b"Blue"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (130, b"")
    assert scripted.hung_up.wait(5)
    assert f"DELETE /v1/jobs/{JOB}" in [path for path, _ in scripted.asked]


def test_a_timeout_ends_with_124(rbee: Rbee, scripted: Scripted) -> None:
    """Also if rbee itself says nothing any more."""
    scripted.hold(piece("Blue"))
    done = rbee("infer", "-p", "x", "--timeout", "200ms")
    assert done.returncode == 124
    assert "DEADLINE_EXCEEDED" in done.stderr
    assert scripted.request()["timeout_s"] == 0.2


def test_an_answer_that_may_have_another_wording_is_told(rbee: Rbee, scripted: Scripted) -> None:
    """Continued is not repeated: that is said in a pipe too; an exact repair is nobody's worry."""
    replay = {"at_token": 3, "mode": "replay", "exact": True, "gap_ms": 400}
    on = {"at_token": 7, "mode": "continue", "exact": False, "gap_ms": 900}
    scripted.chunks(piece("x", "stop", rbee={"splices": [replay]}))
    done = rbee("infer", "-p", "x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "x\n", "")
    scripted.chunks(piece("x", "stop", rbee={"splices": [replay, on]}))
    done = rbee("infer", "-p", "x")
    assert done.stdout == "x\n" and "continued at token 7" in done.stderr
