"""The id by which a client, or a proxy before it, follows a request through its own logs."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"(?!job_)[A-Za-z0-9][A-Za-z0-9._:+/=@~-]{0,127}", re.ASCII)
"""What neither a log, a header nor a shell can misread. Names of jobs are ours to give."""


def taken_over(header: str | None) -> str:
    """The id of an `x-request-id`, as it came; empty: there is none that can be taken over."""
    return header if header is not None and _PLAIN.fullmatch(header) else ""
