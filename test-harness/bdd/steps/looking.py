"""Settings from several places, and a log that somebody follows."""

from __future__ import annotations

import signal
import threading

from pytest_bdd import given, parsers, then, when

from eventually import eventually


@given(parsers.parse("rbee.toml has it listen on that port, with a queue of {places:d}"))
def listening_config(world, places):
    port = world.seen["port"]
    text = f'listen = "127.0.0.1:{port}"\n[limits]\nqueue = {places}\n'
    (world.home.path / "rbee.toml").write_text(text)


@given("the environment does not name a port")
def unnamed_port(world):
    del world.home.env["RBEE_PORT"]


@when("the environment names port 0")
def any_port(world):
    world.home.env["RBEE_PORT"] = "0"


@when("the environment names that port")
def that_port(world):
    world.home.env["RBEE_PORT"] = str(world.seen["port"])


# --- following ------------------------------------------------------------------------------


class Follower:
    """`rbee logs --follow`, read by a thread."""

    def __init__(self, home):
        self.process = home.begin("logs", "--follow")
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(10)
        self._reader.join(10)
        self.process.stderr.close()
        return code


@when("I follow its log")
def follow(world):
    world.seen["follower"] = Follower(world.home)


@when("the log is turned over")
def turned_over(world):
    """It is made too large: rbee itself begins another one, and keeps this one as the older."""
    log = world.home.path / "logs" / "queen.log"
    before = log.stat().st_ino
    with log.open("ab") as file:
        file.write((b"x" * 1023 + b"\n") * 9)
    eventually(lambda: log.stat().st_ino != before, within_s=10)
    assert log.with_name("queen.log.1").stat().st_ino == before


@then(parsers.parse("what rbee says of it comes to the follower within {limit_s:d} s"))
def comes(world, limit_s):
    seen = world.seen.setdefault("followed", 0)

    def told():
        found = [one for one in world.seen["follower"].lines if "rbee.toml is" in one]
        return found if len(found) > seen else None

    world.seen["followed"] = len(eventually(told, within_s=limit_s))


@when("I press Ctrl-C in the log")
def interrupted(world):
    world.seen["code"] = world.seen["follower"].end()


@then("it ends with 130, and showed nothing twice")
def once_each(world):
    assert world.seen["code"] == 130
    told = [one for one in world.seen["follower"].lines if "rbee.toml is" in one]
    assert len(told) == len(set(told)) == 2, told
    assert "applied" in told[0] and "not applied" in told[1]
