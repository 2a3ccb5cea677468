"""`python -m rbee.hive`: the hive of the home that RBEE_HOME names. Started by the queen.

Exit codes: 0 asked to leave, or alone for too long; 2 the configuration is wrong; 3 the queen is of
another version; 4 this home has a hive already.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Callable

import msgspec

from rbee.edge import strays
from rbee.edge.config_file import load_settings
from rbee.edge.home import Home, default_home
from rbee.edge.logs import Log
from rbee.edge.process_table import start_time
from rbee.errors import RbeeError
from rbee.hive.service import Hive
from rbee.settings import Settings
from rbee.version import VERSION

EXIT_CONFIGURATION = 2
EXIT_SECOND_HIVE = 4

_LOCK_WITHIN_S = 1.0
"""A hive that is just ending may hold its lock for a moment."""


def main() -> int:
    """Run until told to leave; the exit code."""
    log = Log("hive")
    home = Home(default_home())
    try:
        home.prepare()
        settings = load_settings(home)
    except RbeeError as error:
        log.error(error.report.message, code=error.code)
        return error.report.exit
    except OSError as error:
        log.error("the home cannot be used", problem=str(error))
        return 1
    return asyncio.run(_run(home, settings, log))


async def _run(home: Home, settings: Settings, log: Log) -> int:
    strays.take_in_orphans()
    lock = os.open(home.run / "hive.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not await _locked(lock):
            log.error("this home has a hive already", home=str(home.root))
            return EXIT_SECOND_HIVE
        _write_hive_file(home)
        hive = Hive(home, settings, log)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_logging(log))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, hive.leave, settings.timing.drain_s)
        code = await hive.run()
        if code == 0:
            home.hive_file.unlink(missing_ok=True)
        return code
    finally:
        os.close(lock)


async def _locked(lock: int) -> bool:
    """Become the only hive of this home; the kernel frees the lock with the process."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if loop.time() > deadline:
                return False
        await asyncio.sleep(0.05)


def _write_hive_file(home: Home) -> None:
    pid = os.getpid()
    said = {"pid": pid, "start_time": start_time(pid), "version": VERSION}
    fresh = home.hive_file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(said))
    os.replace(fresh, home.hive_file)


def _logging(log: Log) -> Callable[[asyncio.AbstractEventLoop, dict[str, object]], None]:
    """A mistake in a callback is logged; the hive goes on for everybody else."""

    def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        problem = context.get("exception") or context.get("message")
        log.error("a mistake of the hive", problem=repr(problem))

    return handle


if __name__ == "__main__":
    sys.exit(main())
