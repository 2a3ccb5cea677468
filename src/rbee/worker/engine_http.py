"""What a worker asks its own engine: is it up, does anything run, does it compute."""

from __future__ import annotations

import asyncio

import msgspec

from rbee.wire.unreadable import UNREADABLE

ANSWER_S = 2.0
"""An engine in a long prefill batch answers late (≤ 0.5 s by its batch size), never this late."""

_ANSWER_BYTES = 8 << 20


class _Slot(msgspec.Struct):
    is_processing: bool = False


_slots = msgspec.json.Decoder(list[_Slot])


async def is_healthy(port: int) -> bool:
    """True when `/health` says 200: loaded and listening."""
    status, _ = await _get(port, "/health", "")
    return status == 200


async def is_idle(port: int, key: str) -> bool:
    """True when no slot works, and also when the engine does not answer that question."""
    status, body = await _get(port, "/slots", key)
    if status != 200:
        return True
    try:
        return not any(slot.is_processing for slot in _slots.decode(body))
    except UNREADABLE:
        return True


async def post(port: int, path: str, key: str, body: bytes, limit_s: float) -> tuple[int, bytes]:
    """Status and body of the answer to a JSON request; status 0 when there was none in time."""
    return await _ask(port, "POST", path, key, body, limit_s)


async def _get(port: int, path: str, key: str) -> tuple[int, bytes]:
    return await _ask(port, "GET", path, key, b"", ANSWER_S)


async def _ask(
    port: int, method: str, path: str, key: str, sent: bytes, limit_s: float
) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answered in time."""
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                    f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(sent)}\r\n\r\n".encode()
                    + sent
                )
                answer = await reader.read(_ANSWER_BYTES)
                while more := await reader.read(_ANSWER_BYTES):
                    answer += more
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 and words[1].isdigit() else 0), body
