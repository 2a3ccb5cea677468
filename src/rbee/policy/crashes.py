"""What ended a worker, from its return code, signal, log and the kernel's counters: pure.

`policy.engine_messages` holds the engine's own words. Its last word is always the same ("Failed to
init server, please check the input params"), so that one is never reported; a log that no row knows
gives its last line of an error instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbee.errors import RbeeError
from rbee.policy.engine_messages import ROWS
from rbee.policy.message_row import Row

LINE_CHARACTERS = 300
"""Of a log line in a message; the log has the rest."""

_SIGKILL = 9
_SIGNALS = {
    4: "an illegal instruction (SIGILL): this processor lacks something the engine was built for",
    6: "it gave itself up (SIGABRT)",
    7: "a memory error (SIGBUS): its file was cut short while in use, or the disk failed",
    8: "an arithmetic error (SIGFPE)",
    9: "killed from outside (SIGKILL)",
    11: "it touched memory that is not its own (SIGSEGV)",
    15: "told to end by another program (SIGTERM)",
    24: "its limit of processor time was reached (SIGXCPU)",
    25: "its limit of file size was reached (SIGXFSZ)",
    31: "a system call that is not allowed here (SIGSYS)",
}


@dataclass(frozen=True, slots=True)
class Death:
    """Why a worker is gone."""

    code: str
    """Of the catalogue; empty: it was asked to end and did."""
    cause: str
    """A sentence without its full stop."""
    line: str
    """The line of the log that tells it, without paths and time stamps; empty: none does."""
    facts: Mapping[str, Any]
    """Exactly what the code's row takes."""

    def error(self) -> RbeeError:
        """The error to report. Only for a death that nobody asked for."""
        return RbeeError(self.code, **self.facts)


def classify(
    *,
    returncode: int | None,
    signal: int | None,
    log_tail: Sequence[str],
    oom_kills: int,
    asked: bool,
    model: str,
    worker: str,
) -> Death:
    """The death of a worker of `model`.

    `oom_kills` is how many more the kernel has counted since it started. An exit that nobody asked
    for is a failure, also with code 0. Without a return code and a signal nobody saw how it ended:
    a worker of an earlier hive, which had no time for a word of its own, as only SIGKILL does it.
    """
    if asked:
        return Death("", "it was told to end", "", {})
    if returncode is None and signal is None and _known(log_tail) is None:
        signal = _SIGKILL
    ended: dict[str, Any] = {"returncode": returncode} if signal is None else {"signal": signal}
    if oom_kills > 0 and signal == _SIGKILL:
        line = "the kernel ended it because memory ran out (oom_kill)"
        return _death("WORKER_OUT_OF_MEMORY", line, line, model, worker, ended)
    known = _known(log_tail) if signal != _SIGKILL else None
    if known is not None:
        row, found = known
        cause = row.says.format_map({k: v or "" for k, v in found.groupdict().items()})
        return _death(row.code, cause, _clean(found.string), model, worker, ended)
    line = last_error(log_tail)
    if signal == _SIGKILL:
        return _death("WORKER_KILLED", _SIGNALS[_SIGKILL], line, model, worker, ended)
    return _death("WORKER_CRASHED", _how(returncode, signal, line), line, model, worker, ended)


def _known(log_tail: Sequence[str]) -> tuple[Row, re.Match[str]] | None:
    for row in ROWS:
        for line in log_tail:
            if found := row.pattern.search(line):
                return row, found
    return None


def _how(returncode: int | None, signal: int | None, line: str) -> str:
    if signal is not None:
        how = _SIGNALS.get(signal, f"signal {signal}")
    elif returncode == 0:
        how = "it ended by itself though nobody asked (exit code 0)"
    else:
        how = f"exit code {returncode}"
    return f"{how}; its last word: {line}" if line else how


_STAMP = re.compile(r"^\d+\.\d+\.\d+\.\d+ [A-Z] ")
_ERROR = re.compile(
    r"^\d+\.\d+\.\d+\.\d+ E |error|failed|terminate called|what\(\):", re.IGNORECASE
)
_INFORMS = re.compile(r"^\d+\.\d+\.\d+\.\d+ [ID] ")
_SAYS_NOTHING = re.compile(
    r"Failed to init server|exiting due to model loading error|failed to load model"
    r"|^(Traceback|  File |    )|common_init_: failed"
)
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:/[^\s/'\",:;()]+)+/(?=[^\s/'\"])")


def last_error(log_tail: Sequence[str]) -> str:
    """The last line that tells of an error and says more than "failed".

    Without one the last line that is no mere information; empty if there is none either.
    """
    telling = [line for line in log_tail if _ERROR.search(line) and not _SAYS_NOTHING.search(line)]
    if telling:
        return _clean(telling[-1])
    spoken = [
        line
        for line in log_tail
        if line.strip() and not _SAYS_NOTHING.search(line) and not _INFORMS.search(line)
    ]
    return _clean(spoken[-1]) if spoken else ""


def _clean(line: str) -> str:
    """As a person may read it: no time stamp, no folder names, bounded."""
    plain = _PATH.sub("", _STAMP.sub("", line.strip()))
    return " ".join(plain.split())[:LINE_CHARACTERS]


def _death(
    code: str, cause: str, line: str, model: str, worker: str, ended: Mapping[str, Any]
) -> Death:
    return Death(code, cause, line, _facts(code, cause, line, model, worker, ended))


def _facts(
    code: str, cause: str, line: str, model: str, worker: str, ended: Mapping[str, Any]
) -> dict[str, Any]:
    match code:
        case "MODEL_CORRUPTED" | "MODEL_UNSUPPORTED":
            return {"model": model, "problem": cause}
        case "MODEL_FILE_MISSING":
            return {"model": model}
        case "GPU_OUT_OF_MEMORY" | "GPU_ERROR":
            return {"model": model, "worker": worker, "cause": cause, "line": line, **ended}
        case "WORKER_OUT_OF_MEMORY":
            return {"model": model, "worker": worker, "line": cause, **ended}
        case "ENGINE_ARGUMENT":
            return {"model": model, "worker": worker, "line": cause, **ended}
        case "PORT_TAKEN":
            port = re.search(r"port: (\d+)", line)
            return {"host": "127.0.0.1", "port": int(port.group(1)) if port else 0, "holder": ""}
        case "ENGINE_MISSING":
            return {"problem": cause}
        case "WORKER_KILLED":
            return {"model": model, "worker": worker, "line": line, **ended}
    return {"model": model, "worker": worker, "cause": cause, "line": line, **ended}
