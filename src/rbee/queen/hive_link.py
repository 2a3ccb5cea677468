"""The queen's end of the control protocol: one hive, met, heard and commanded."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rbee.edge.lines import LineChannel, listen_lines
from rbee.errors import RbeeError
from rbee.version import CONTROL_PROTOCOL, VERSION
from rbee.wire import control
from rbee.wire.problem import from_problem, to_problem
from rbee.wire.unreadable import UNREADABLE

CallMaker = Callable[[str], control.ToHive]

_UNHEARD_PINGS = 5
"""Before a hive counts as hung; on an overloaded machine one may take its time with an answer."""


class _Call:
    def __init__(self, on_progress: Callable[[control.Progress], None] | None) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.on_progress = on_progress


class HiveLink:
    """Listens for the hive. `on_message` hears all that is not the answer to a call;
    `on_meet` returns the wishes for the Welcome; `on_lost` hears of a closed connection."""

    def __init__(
        self,
        *,
        on_meet: Callable[[control.Hello], tuple[control.ModelWish, ...]],
        on_message: Callable[[control.FromHive], None],
        on_lost: Callable[[], None],
        on_mistake: Callable[[Exception, str], None],
        limit_bytes: int,
    ) -> None:
        self._on_meet = on_meet
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_mistake = on_mistake
        self._limit_bytes = limit_bytes
        self._channel: LineChannel | None = None
        self._calls: dict[str, _Call] = {}
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._heard = False
        self.mismatch: RbeeError | None = None
        """The last hive that was refused for its version."""

    @property
    def connected(self) -> bool:
        return self._channel is not None

    async def listen(self, path: Path) -> None:
        self._path = path
        self._server = await listen_lines(path, self._serve, limit_bytes=self._limit_bytes)

    async def stay_reachable(self) -> None:
        """Listen anew if somebody removed the socket's file: the next hive could not dial."""
        if self._path is not None and self._server is not None and not self._path.exists():
            self._server.close()
            await self.listen(self._path)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._channel is not None:
            self._channel.close()

    def tell(self, message: control.ToHive) -> None:
        """Say something; while no hive is there it is dropped, the Welcome tells all anew."""
        if self._channel is not None:
            self._channel.send(control.encode(message))

    async def call(
        self, make: CallMaker, *, on_progress: Callable[[control.Progress], None] | None = None
    ) -> Any:
        """Ask and wait for the answer. Raises the hive's error, or HIVE_LOST.

        Cancelling the wait cancels the work.
        """
        if self._channel is None:
            raise RbeeError("HIVE_LOST")
        id_ = secrets.token_hex(8)
        call = self._calls[id_] = _Call(on_progress)
        self.tell(make(id_))
        try:
            return await call.answer
        except asyncio.CancelledError:
            self.tell(control.CancelCall(id_))
            raise
        finally:
            del self._calls[id_]

    async def watch(self, every_s: float, start_s: float, on_hung: Callable[[], None]) -> None:
        """Ping the hive for ever; one that says nothing for long, or has not dialled within
        `start_s`, is told to `on_hung`.

        Rounds are counted, not seconds: a queen that was frozen herself blames nobody for it.
        """
        unheard = absent = 0
        while True:
            self._heard = False
            self.tell(control.Ping())
            await asyncio.sleep(every_s)
            unheard = 0 if self._heard or not self.connected else unheard + 1
            absent = 0 if self.connected or self.mismatch is not None else absent + 1
            if unheard >= _UNHEARD_PINGS or absent * every_s >= start_s:
                unheard = absent = 0
                on_hung()

    async def _serve(self, channel: LineChannel) -> None:
        hello = await self._meet(channel)
        if hello is None:
            return
        if self._channel is not None:
            self._channel.close()
        self._channel = channel
        try:
            wishes = self._on_meet(hello)
            channel.send(control.encode(control.Welcome(VERSION, wishes)))
            await self._listen(channel)
        finally:
            # Whatever ended it: nobody waits any longer for an answer of this hive.
            if self._channel is channel:
                self._channel = None
                self._lose()

    async def _listen(self, channel: LineChannel) -> None:
        while (line := await channel.receive()) is not None:
            try:
                message = control.decode_from_hive(line)
            except UNREADABLE:
                return
            self._heard = True
            self._hear(message)

    async def _meet(self, channel: LineChannel) -> control.Hello | None:
        line = await channel.receive()
        if line is None:
            return None
        try:
            hello = control.decode_from_hive(line)
        except UNREADABLE:
            return None
        if not isinstance(hello, control.Hello):
            return None
        if hello.version == VERSION and hello.protocol == CONTROL_PROTOCOL:
            self.mismatch = None
            return hello
        self.mismatch = RbeeError(
            "VERSION_MISMATCH",
            one="rbee",
            one_version=VERSION,
            other="the part of rbee that looks after this machine",
            other_version=hello.version,
        )
        channel.send(control.encode(control.Refused(to_problem(self.mismatch.report))))
        await channel.flush()
        return None

    def _hear(self, message: control.FromHive) -> None:
        if isinstance(message, control.Progress):
            call = self._calls.get(message.call)
            if call is not None and call.on_progress is not None:
                call.on_progress(message)
        elif isinstance(message, control.Done):
            call = self._calls.get(message.call)
            if call is not None and not call.answer.done():
                call.answer.set_result(message.result)
        elif isinstance(message, control.Failed):
            call = self._calls.get(message.call)
            if call is not None and not call.answer.done():
                call.answer.set_exception(from_problem(message.problem))
        else:
            self._pass_on(message)

    def _pass_on(self, message: control.FromHive) -> None:
        """A mistake of ours about one message must not end the link, and with it all the others."""
        try:
            self._on_message(message)
        except Exception as exc:
            self._on_mistake(exc, "")

    def _lose(self) -> None:
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_exception(RbeeError("HIVE_LOST"))
        self._on_lost()
