"""What a request brings to the door of its model, read from its headers and its body."""

from __future__ import annotations

from rbee.errors import RbeeError
from rbee.policy.admission import Claim
from rbee.policy.affinity import conversation_of
from rbee.policy.fair_queue import Priority
from rbee.queen.attempt import Call
from rbee.queen.routes import Visit
from rbee.wire.openai import Ask

_HEADER = "X-Rbee-Priority"


def claim_of(visit: Visit, ask: Ask, call: Call, *, brief: bool = False) -> Claim:
    """The claim of a request; `brief`: it makes no tokens.

    Raises INVALID_REQUEST if the priority that it names is none.
    """
    return Claim(
        key_id=visit.caller.key_id,
        priority=_priority(visit.header(_HEADER.lower())),
        conversation=conversation_of(ask.body),
        deadline_at=call.deadline.at if call.deadline else None,
        deadline_s=call.deadline.allowed_s if call.deadline else 0.0,
        brief=brief,
    )


def _priority(text: str | None) -> Priority:
    """Normal if nothing is said."""
    if text is None:
        return Priority.NORMAL
    try:
        return Priority(text.strip().lower())
    except ValueError as exc:
        known = ", ".join(one.value for one in Priority)
        problem = f"{_HEADER} must be one of {known}, and is {text[:40]!r}"
        raise RbeeError("INVALID_REQUEST", problem=problem, param=_HEADER) from exc
