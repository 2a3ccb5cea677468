"""What a simulated engine says: words that tell their place and who said them."""

from __future__ import annotations

import json
import random
import re
from typing import Any

WORD = re.compile(r"(\d+)\.(\d+)([a-z]) ")


def speech(body: dict[str, Any], salt: str, cached: int, dice: random.Random) -> list[bytes]:
    """The events of an answer: each choice's words in order, the choices mixed by the dice."""
    last = body["messages"][-1]
    begun = len(WORD.findall(last["content"])) if last["role"] == "assistant" else 0
    total = body["words"]
    limit = body.get("max_tokens")
    count = total - begun if limit is None else min(total - begun, limit)
    finish = "length" if limit is not None and count == limit else "stop"
    prompt = 5 + begun
    progress = {"total": prompt, "cache": cached, "processed": prompt}
    events = [_event(salt, 0, {"role": "assistant"}, prompt_progress=progress)]
    lanes = []
    for index in range(body.get("n", 1)):
        own = [_event(salt, index, {"role": "assistant", "content": None})]
        for word in range(begun, begun + max(0, count)):
            own.append(_event(salt, index, {"content": f"{index}.{word}{salt} "}))
        own.append(_event(salt, index, {}, finish=finish))
        counts = {"prompt_tokens": prompt, "completion_tokens": count}
        own.append(_encoded({"id": salt, "created": 1, "choices": [], "usage": counts}))
        lanes.append(own)
    while lanes:
        own = dice.choice(lanes)
        events.append(own.pop(0))
        lanes = [one for one in lanes if one]
    return [*events, b"data: [DONE]\n\n"]


def _event(salt: str, index: int, delta: dict[str, Any], finish: str = "", **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish or None}
    return _encoded({"id": salt, "created": 1, "choices": [choice], **more})


def _encoded(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
