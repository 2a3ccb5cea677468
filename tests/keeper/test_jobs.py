"""`rbee jobs` against a scripted rbee: what is listed, shown, followed, ended."""

import json

from tests.keeper.conftest import FOLLOW, JOB, Rbee, Scripted
from tests.keeper.test_infer import piece

VIEW = {
    "job_id": JOB,
    "status": "done",
    "model": "tiny",
    "created_at": 0.0,
    "error": None,
    "result": {"choices": [{"message": {"content": "Blue sky."}}]},
    "partial": None,
}
FAILED = {
    **VIEW,
    "status": "failed",
    "error": {"code": "ATTEMPTS_EXHAUSTED", "message": "Three workers died of it."},
    "result": None,
    "partial": {"choices": [{"message": {"content": "Blue"}}]},
}


def test_jobs_are_listed(rbee: Rbee, scripted: Scripted) -> None:
    """A table, or one object a line."""
    scripted.say("/v1/jobs", {"object": "list", "data": [VIEW, FAILED]})
    lines = rbee("jobs", "list").stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["STATUS", "done", "failed"]
    assert "ATTEMPTS_EXHAUSTED" in lines[2]
    shown = rbee("jobs", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["status"] for line in shown] == ["done", "failed"]
    scripted.say("/v1/jobs", {"object": "list", "data": []})
    assert rbee("jobs", "list").stdout == "No jobs.\n"


def test_a_job_is_shown_with_its_answer(rbee: Rbee, scripted: Scripted) -> None:
    """The answer alone on stdout, as far as it came; what happened on stderr."""
    scripted.say(f"/v1/jobs/{JOB}", VIEW)
    assert rbee("jobs", "show", JOB).stdout == "Blue sky.\n"
    scripted.say(f"/v1/jobs/{JOB}", FAILED)
    done = rbee("jobs", "show", JOB)
    assert (done.returncode, done.stdout) == (0, "Blue\n")
    assert "Three workers died of it." in done.stderr and "ATTEMPTS_EXHAUSTED" in done.stderr
    assert json.loads(rbee("jobs", "show", JOB, "--json").stdout)["status"] == "failed"


def test_what_was_kept_here_is_shown_when_rbee_has_forgotten(
    rbee: Rbee, scripted: Scripted
) -> None:
    """The part of an answer that broke off, from the file; nothing but such a file is read."""
    missing = {"error": {"code": "JOB_NOT_FOUND", "message": "There is no such job."}}
    scripted.say(f"/v1/jobs/{JOB}", missing, 404)
    done = rbee("jobs", "show", JOB)
    assert (done.returncode, "JOB_NOT_FOUND" in done.stderr) == (1, True)
    partials = scripted.home.root / "partials"
    partials.mkdir()
    (partials / f"{JOB}.txt").write_text("Blue")
    done = rbee("jobs", "show", JOB)
    assert (done.returncode, done.stdout) == (0, "Blue\n")
    (scripted.home.root / "other.txt").write_text("secret")
    scripted.say("/v1/jobs/..%2Fother", missing, 404)
    assert rbee("jobs", "show", "../other").returncode == 1


def test_attach_reads_to_the_end(rbee: Rbee, scripted: Scripted) -> None:
    """From the start of the answer, over a connection that breaks."""
    scripted.say(f"/v1/jobs/{JOB}", VIEW)
    scripted.chunks(piece("Blue"), done=False, cut=True)
    scripted.then_chunks(2, piece(" sky."), piece(None, "stop"))
    done = rbee("jobs", "attach", JOB)
    assert (done.returncode, done.stdout) == (0, "Blue sky.\n")
    assert scripted.last_ids == ["1-0"]


def test_attach_tells_how_it_ended(rbee: Rbee, scripted: Scripted) -> None:
    """The exit code of the job's error; its part is kept."""
    scripted.say(f"/v1/jobs/{JOB}", VIEW)
    error = {"code": "WORKER_KILLED", "message": "It was killed.", "job_id": JOB}
    scripted.chunks(piece("Blue"), {"error": error})
    done = rbee("jobs", "attach", JOB)
    assert (done.returncode, done.stdout.startswith("Blue\n")) == (137, True)
    assert (scripted.home.root / "partials" / f"{JOB}.txt").read_text() == "Blue"


def test_cancel_ends_a_job(rbee: Rbee, scripted: Scripted) -> None:
    """One DELETE, and a word about it."""
    scripted.answers[f"DELETE /v1/jobs/{JOB}"] = b"HTTP/1.1 204 X\r\n\r\n"
    done = rbee("jobs", "cancel", JOB)
    assert (done.returncode, JOB in done.stderr) == (0, True)
    assert (f"DELETE /v1/jobs/{JOB}", None) in scripted.asked


def test_partials_are_bounded(rbee: Rbee, scripted: Scripted) -> None:
    """The newest hundred stay."""
    partials = scripted.home.root / "partials"
    partials.mkdir()
    for number in range(120):
        (partials / f"old{number}.txt").write_text("x")
    scripted.say("/v1/jobs", {"job_id": JOB}, 202)
    scripted.chunks(piece("Blue"), done=True)
    rbee("infer", "-p", "x")
    assert len(list(partials.iterdir())) == 100 and (partials / f"{JOB}.txt").exists()
    assert FOLLOW in [path for path, _ in scripted.asked]
