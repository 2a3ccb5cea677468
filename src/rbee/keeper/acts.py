"""What a command does by itself, without a running rbee, is written down like what rbee does."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from rbee.edge.audit_file import AuditFile, user_name
from rbee.edge.home import Home
from rbee.wire.audit import Act


def write_down(home: Home, act: str, of: str = "") -> None:
    """It was done now, by this user. A disk that refuses undoes nothing."""
    with suppress(OSError):
        AuditFile(home).add(Act(time.time(), user_name(os.getuid()), act, of, "ok"))
