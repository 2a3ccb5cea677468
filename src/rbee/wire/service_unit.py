"""The unit that has systemd start rbee for one user, and start it again if it dies.

`rbee up` stays in front, as systemd likes it: SIGTERM drains and ends everything. Only that process
is signalled (`KillMode=process`): workers are ended by those who own them, and if rbee is killed
they wait for the next one, which takes them back still loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = "# Written by `rbee service install`; `rbee service remove` takes it away."

_UNIT = """\
{mark}
[Unit]
Description=rbee ({home})
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=simple
Environment={environment}
ExecStart={command}
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=2
KillMode=process
TimeoutStopSec={stop_s}

[Install]
WantedBy=default.target
"""


def unit(*, home: str, command: Sequence[str], stop_s: int) -> str:
    """The text of the unit. Exit code 2 (a mistake in rbee.toml) is not tried again. Raises
    ValueError for a path that no unit can name."""
    for text in (home, *command):
        if not text.isprintable():
            raise ValueError(f"{text[:80]!a} cannot stand in a unit")
    return _UNIT.format(
        mark=MARK,
        home=home.replace("%", "%%"),
        environment=_quoted(f"RBEE_HOME={home}"),
        command=" ".join(_quoted(word).replace("$", "$$") for word in command),
        stop_s=stop_s,
    )


def _quoted(word: str) -> str:
    """As systemd.syntax(7) reads it back: `%` begins a specifier, quotes keep spaces together."""
    plain = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9%=/._+:@-]+", plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
