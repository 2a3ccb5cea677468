"""Servers that somebody else runs."""

from rbee.errors.error import Retry, Row

ROWS = (
    Row(
        code="ATTACHED_UNREACHABLE",
        status=503,
        exit=1,
        retry=Retry.LATER,
        says="{worker}, an attached server, cannot be used: {problem}.",
        do="Start it or mend its network; to go without it: rbee workers detach {worker}",
        means="rbee does not run it, looks at it every few seconds, and uses it once it answers.",
        facts=("worker", "problem"),
    ),
    Row(
        code="ATTACHED_KEY",
        status=502,
        exit=1,
        retry=Retry.ELSEWHERE,
        says="{worker}, an attached server, does not accept the key that rbee has for it: "
        "{problem}.",
        do="Set the right key where rbee is started and restart it (rbee down, rbee up), or: "
        "rbee workers attach URL --key-file PATH",
        means="The key itself is shown nowhere.",
        facts=("worker", "problem"),
    ),
    Row(
        code="ATTACHED_BUSY",
        status=429,
        exit=1,
        retry=Retry.ELSEWHERE,
        says="{worker}, the attached server that serves {model}, takes no more requests for now.",
        do="Try again in {retry_after_s} s; fewer at once: rbee workers attach URL --slots N",
        means="Nothing was generated.",
        facts=("model", "worker", "retry_after_s"),
    ),
    Row(
        code="ATTACHED_NOT_OURS",
        status=409,
        exit=1,
        retry=Retry.NEVER,
        says="{worker} is a server that somebody else runs: rbee cannot {deed} it.",
        do="To take it out of the pool: rbee workers detach {worker}",
        means="Nothing was changed.",
        facts=("worker", "deed"),
    ),
)
