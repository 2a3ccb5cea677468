"""The way to a running rbee: its admin socket here, or the address of another one."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rbee.edge.home import Home, default_home
from rbee.edge.local_http import Address, Broken, Reply, ask
from rbee.errors import RbeeError
from rbee.keeper.failure import error_from
from rbee.keeper.render import Screen
from rbee.version import VERSION

if TYPE_CHECKING:
    from rbee.keeper.dialing import Dialing

CONNECT_S = 2.0
ANSWER_WITHIN_S = 10.0
"""For what rbee answers from memory: milliseconds, and more on a machine out of breath."""

TICK_S = 0.1
"""How often a wait looks up: for the live line, a deadline, Ctrl-C."""


def _endless() -> None:
    """Work may take its time."""


class Connection:
    """Asks one rbee. Raises what rbee answers, and CONNECTION_LOST; for one on this machine
    NOT_RUNNING, for a distant one NETWORK_UNREACHABLE and NETWORK_PAUSED."""

    def __init__(self, address: Address, home: Home, shown: str, key: str = "") -> None:
        self._address = address
        self._headers = [("Authorization", f"Bearer {key}")] if key else []
        self.home = home
        self.shown = shown
        self.local = address.unix is not None
        self.screen: Screen | None = None
        """Where waits are told; without one on stderr, unless it is to hold JSON only."""

    @classmethod
    def of(cls, url: str = "") -> Connection:
        """`--url`, else RBEE_URL, else the rbee of RBEE_HOME. Raises USAGE for a bad address."""
        home = Home(default_home())
        url = url or os.environ.get("RBEE_URL", "")
        if not url:
            return cls.of_home(home)
        try:
            address = Address.from_url(url)
        except ValueError as exc:
            raise RbeeError("USAGE", problem=f"{url[:200]}: {exc}") from exc
        return cls(address, home, url, os.environ.get("RBEE_KEY", ""))

    @classmethod
    def of_home(cls, home: Home) -> Connection:
        """The rbee of this home, by its admin socket."""
        return cls(Address(unix=home.admin_socket), home, str(home.admin_socket))

    def running(self) -> bool:
        """Whether an rbee answers there; which version does not matter."""
        try:
            self.get("/rbee/status")
        except RbeeError as error:
            if error.code not in ("NOT_RUNNING", "CONNECTION_LOST", "SHUTTING_DOWN"):
                raise
            return False
        return True

    def get(
        self,
        path: str,
        *,
        within_s: float = ANSWER_WITHIN_S,
        again: bool = True,
        on_tick: Callable[[], None] = _endless,
    ) -> Any:
        """Raises CONNECTION_LOST if the answer is not there in time: that rbee hangs. `again`: a
        distant one is dialled until it answers."""
        reply = self.open("GET", path, None, within_s=within_s, again=again, on_tick=on_tick)
        return self.value_of(reply)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.value_of(self.open("POST", path, body))

    def begin(self, path: str, body: Mapping[str, Any]) -> None:
        """Post what goes on behind the head of its answer. Raises as `get` does."""
        self.open("POST", path, body, within_s=ANSWER_WITHIN_S).close()

    def lines(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        on_tick: Callable[[], None] = _endless,
    ) -> Iterator[dict[str, Any]]:
        """JSON lines as they come; a line `{"error": …}` is raised. Closing it hangs up."""
        reply = self.open(method, path, body, on_tick=on_tick)
        try:
            for line in reply.lines():
                value = json.loads(line)
                if "error" in value:
                    raise error_from(value)
                yield value
        except (Broken, ValueError) as exc:
            raise self.lost(exc) from exc
        finally:
            reply.close()

    def open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        within_s: float | None = None,
        again: bool = True,
        on_tick: Callable[[], None] = _endless,
    ) -> Reply:
        """The answer once its head is in; an error status is raised as what rbee says. `within_s`
        bounds the answer from its request on, not the dials before it."""
        try:
            data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as exc:
            problem = "a name or path that is no UTF-8 cannot be asked for; give the file another"
            raise RbeeError("USAGE", problem=problem) from exc

        def send(connect_s: float) -> Reply:
            return ask(
                self._address,
                method,
                path,
                headers=[*self._headers, *headers],
                body=data,
                connect_s=connect_s,
                tick_s=TICK_S,
                on_tick=on_tick if within_s is None else _patience(within_s, on_tick),
            )

        once = self.local or not again
        try:
            reply = send(CONNECT_S) if once else self._dialing().reach(send, on_tick)
            if reply.status >= 400:
                raise self._refusal(reply)
        except Broken as exc:
            raise self.lost(exc) from exc
        except OSError as exc:
            if not self.local:
                raise self.lost(exc) from exc
            raise RbeeError("NOT_RUNNING", url=self.shown) from exc
        except ValueError as exc:
            raise RbeeError("USAGE", problem=str(exc)) from exc
        return reply

    def lost(self, cause: Exception) -> RbeeError:
        """CONNECTION_LOST for an answer that was cut, cannot be read, or does not come any more."""
        if isinstance(cause, Broken):
            problem = cause.problem
        elif isinstance(cause, OSError):
            problem = "it cannot be reached any more"
        else:
            problem = "its answer cannot be read"
        return RbeeError("CONNECTION_LOST", url=self.shown, problem=problem)

    def check_version(self, status: Mapping[str, Any]) -> None:
        """Raises VERSION_MISMATCH if that rbee is not of this command's version."""
        if status.get("version") != VERSION:
            raise mismatch(str(status.get("version")))

    def _dialing(self) -> Dialing:
        from rbee.edge.config_file import load_settings
        from rbee.edge.dial_file import DialFile
        from rbee.keeper.dialing import Dialing

        screen = self.screen or Screen.on(sys.stderr, json="--json" in sys.argv)
        timing = load_settings(self.home).timing
        return Dialing(self.shown, DialFile(self.home), timing, on_pause=screen.live)

    def value_of(self, reply: Reply) -> Any:
        """The JSON of an answer. Raises CONNECTION_LOST."""
        try:
            return json.loads(reply.body())
        except (Broken, ValueError) as exc:
            raise self.lost(exc) from exc
        finally:
            reply.close()

    def _refusal(self, reply: Reply) -> RbeeError:
        try:
            body = json.loads(reply.body())
        except ValueError:
            body = None
        finally:
            reply.close()
        return error_from(body, status=reply.status)


def _patience(within_s: float, on_tick: Callable[[], None]) -> Callable[[], None]:
    until = time.monotonic() + within_s

    def look() -> None:
        on_tick()
        if time.monotonic() > until:
            raise Broken(f"it did not answer within {within_s:.0f} s")

    return look


def checked(url: str = "") -> Connection:
    """A connection to an rbee of this version. Raises VERSION_MISMATCH, and as `Connection`."""
    connection = Connection.of(url)
    connection.check_version(connection.get("/rbee/status"))
    return connection


def mismatch(version: str) -> RbeeError:
    """VERSION_MISMATCH between this command and the rbee that runs."""
    return RbeeError(
        "VERSION_MISMATCH",
        one="This command",
        one_version=VERSION,
        other="the rbee that runs",
        other_version=version,
    )
