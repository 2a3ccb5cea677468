"""The way to a running rbee: its admin socket here, or the address of another one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rbee.edge.home import Home, default_home
from rbee.edge.local_http import Address, Broken, Reply, ask
from rbee.errors import RbeeError
from rbee.keeper.failure import error_from
from rbee.version import VERSION

ANSWER_WITHIN_S = 10.0
"""For what rbee answers from memory: milliseconds, and more on a machine out of breath."""

TICK_S = 0.1
"""How often a wait looks up: for the live line, a deadline, Ctrl-C."""


class Connection:
    """Asks one rbee. Raises NOT_RUNNING, CONNECTION_LOST, or what rbee answers."""

    def __init__(self, address: Address, home: Home, shown: str, key: str = "") -> None:
        self._address = address
        self._headers = [("Authorization", f"Bearer {key}")] if key else []
        self.home = home
        self.shown = shown
        self.local = address.unix is not None

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

    def get(self, path: str, *, within_s: float = ANSWER_WITHIN_S) -> Any:
        """Raises CONNECTION_LOST if the answer is not there in time: that rbee hangs."""
        return self._whole("GET", path, None, _patience(within_s))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._whole("POST", path, body, _endless)

    def begin(self, path: str, body: Mapping[str, Any]) -> None:
        """Post what goes on behind the head of its answer. Raises as `get` does."""
        self.open("POST", path, body, on_tick=_patience(ANSWER_WITHIN_S)).close()

    def lines(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        on_tick: Callable[[], None] = lambda: None,
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
        on_tick: Callable[[], None] = lambda: None,
    ) -> Reply:
        """The answer once its head is in; an error status is raised as what rbee says."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        try:
            reply = ask(
                self._address,
                method,
                path,
                headers=[*self._headers, *headers],
                body=data,
                tick_s=TICK_S,
                on_tick=on_tick,
            )
            if reply.status >= 400:
                raise self._refusal(reply)
        except Broken as exc:
            raise self.lost(exc) from exc
        except OSError as exc:
            raise RbeeError("NOT_RUNNING", url=self.shown) from exc
        except ValueError as exc:
            raise RbeeError("USAGE", problem=str(exc)) from exc
        return reply

    def lost(self, cause: Exception) -> RbeeError:
        """CONNECTION_LOST for an answer that was cut or cannot be read."""
        problem = cause.problem if isinstance(cause, Broken) else "its answer cannot be read"
        return RbeeError("CONNECTION_LOST", url=self.shown, problem=problem)

    def check_version(self, status: Mapping[str, Any]) -> None:
        """Raises VERSION_MISMATCH if that rbee is not of this command's version."""
        if status.get("version") != VERSION:
            raise mismatch(str(status.get("version")))

    def _whole(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        on_tick: Callable[[], None],
    ) -> Any:
        reply = self.open(method, path, body, on_tick=on_tick)
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


def _endless() -> None:
    """Work may take its time."""


def _patience(within_s: float) -> Callable[[], None]:
    until = time.monotonic() + within_s

    def look() -> None:
        if time.monotonic() > until:
            raise Broken(f"it did not answer within {within_s:.0f} s", sent=False)

    return look


def checked(url: str = "") -> Connection:
    """A connection to an rbee of this version. Raises NOT_RUNNING or VERSION_MISMATCH."""
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
