"""`rbee jobs`: list, show, attach, cancel."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rbee.errors import RbeeError
from rbee.keeper.answer import follow
from rbee.keeper.asking import Asker, partial_path
from rbee.keeper.connection import Connection, checked
from rbee.keeper.parsing import Parser, verbs
from rbee.keeper.render import Screen, duration, put, safe, table


def run(command: str, arguments: Sequence[str]) -> int:
    does = {"list": _list, "show": _show, "attach": _attach, "cancel": _cancel}
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _list(arguments: Sequence[str]) -> int:
    asked = Parser("jobs list", "Jobs that run, and those of the last minutes.").parse(arguments)
    found = checked(asked.url).get("/v1/jobs")["data"]
    if asked.json:
        for one in found:
            put(one)
        return 0
    rows = [
        [
            str(one["job_id"]),
            str(one["status"]),
            str(one["model"]),
            duration(max(0.0, time.time() - float(one["created_at"]))),
            str((one["error"] or {}).get("code", "–")),
        ]
        for one in found
    ]
    print(table(("JOB", "STATUS", "MODEL", "AGE", "ERROR"), rows) if rows else "No jobs.")
    return 0


def _show(arguments: Sequence[str]) -> int:
    parser = Parser("jobs show", "One job and its answer, as far as it has come.")
    parser.add_argument("job", metavar="JOB")
    asked = parser.parse(arguments)
    connection = checked(asked.url)
    try:
        found = connection.get(_path(asked.job))
    except RbeeError as error:
        if error.code != "JOB_NOT_FOUND" or not _show_partial(connection, asked.job, asked.json):
            raise
        return 0
    if asked.json:
        put(found)
        return 0
    screen = Screen.on(sys.stderr)
    screen.line(f"  {found['job_id']}   {found['status']}   {found['model']}")
    if found["error"]:
        screen.mark("failed", str(found["error"]["message"]))
        screen.line(f"  {found['error']['code']}")
    text = _text(found["result"] or found["partial"])
    if text:
        print(safe(text) if sys.stdout.isatty() else text)
    return 0


def _attach(arguments: Sequence[str]) -> int:
    parser = Parser("jobs attach", "Read the answer of a job from its start to its end.")
    parser.add_argument("job", metavar="JOB")
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    asker = Asker(Connection.of(asked.url), screen, json=asked.json)
    asker.meet()
    model = str(asker.connection.get(_path(asked.job))["model"])
    summary = asker.read(
        model,
        lambda reading, tick: follow(
            asker.connection, asked.job, reading, on_tick=tick, bring_back=asker.bring_back
        ),
        job=asked.job,
    )
    if asked.json:
        put({"done": {"text": summary.text, "finish_reason": summary.finish_reason}})
    return 0


def _cancel(arguments: Sequence[str]) -> int:
    parser = Parser("jobs cancel", "End a job; one that has ended stays as it is.")
    parser.add_argument("job", metavar="JOB")
    asked = parser.parse(arguments)
    checked(asked.url).open("DELETE", _path(asked.job), None).close()
    if asked.json:
        put({"cancelled": asked.job})
    else:
        Screen.on(sys.stderr).mark("done", f"cancelled {asked.job}")
    return 0


def _show_partial(connection: Connection, job: str, json: bool) -> bool:
    """What this command line kept of a job that rbee has forgotten; False: nothing."""
    path = partial_path(connection.home, job)
    if "/" in job or not path.is_file():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    if json:
        put({"job_id": job, "status": "forgotten", "text": text})
    else:
        Screen.on(sys.stderr).mark("other", f"rbee has forgotten it; this was kept in {path}")
        print(safe(text) if sys.stdout.isatty() else text)
    return True


def _text(answer: Mapping[str, Any] | None) -> str:
    choices = (answer or {}).get("choices") or ()
    found = [(one.get("message") or {}).get("content") or one.get("text") or "" for one in choices]
    return "\n".join(str(one) for one in found)


def _path(job: str) -> str:
    from urllib.parse import quote

    return f"/v1/jobs/{quote(job, safe='')}"
