"""Chat chunks as llama.cpp b11549 writes them, and answers made of them, for tests of splices."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st


def chunk(delta: dict[str, Any], index: int = 0, id_: str = "first", **facts: Any) -> bytes:
    choice = {"finish_reason": facts.pop("finish", None), "index": index, "delta": delta}
    if "logprobs" in facts:
        choice["logprobs"] = {"content": facts.pop("logprobs")}
    whole = {
        "choices": [choice],
        "created": {"first": 1}.get(id_, 2),
        "id": id_,
        "model": "tiny",
        "system_fingerprint": f"fp-{id_}",
        "object": "chat.completion.chunk",
        **facts,
    }
    return json.dumps(whole, ensure_ascii=False).encode()


def usage(prompt: int, said: int, id_: str = "first") -> bytes:
    told = {"completion_tokens": said, "prompt_tokens": prompt, "total_tokens": prompt + said}
    return json.dumps({"choices": [], "id": id_, "created": 1, "usage": told}).encode()


@dataclass
class Heard:
    """What a client makes of chunks."""

    content: str = ""
    reasoning: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    """Id, name and arguments by index."""
    logprobs: list[str] = field(default_factory=list)
    roles: int = 0
    finish: list[str] = field(default_factory=list)


def heard(payloads: list[bytes]) -> tuple[dict[int, Heard], list[dict[str, Any]], set[str]]:
    """Choices, usages and ids of a stream."""
    choices: dict[int, Heard] = {}
    usages: list[dict[str, Any]] = []
    ids: set[str] = set()
    for data in payloads:
        value = json.loads(data)
        ids.add(f"{value.get('id')} {value.get('created')}")
        if value.get("usage"):
            usages.append(value["usage"])
        for choice in value["choices"]:
            one = choices.setdefault(choice["index"], Heard())
            delta = choice.get("delta") or {}
            one.content += delta.get("content") or choice.get("text") or ""
            one.reasoning += delta.get("reasoning_content") or ""
            one.roles += "role" in delta
            for call in delta.get("tool_calls") or ():
                known = one.calls.setdefault(call["index"], ["", "", ""])
                known[0] = call.get("id") or known[0]
                known[1] += call.get("function", {}).get("name", "")
                known[2] += call.get("function", {}).get("arguments", "")
            entries = (choice.get("logprobs") or {}).get("content") or ()
            one.logprobs += [entry["token"] for entry in entries]
            if choice.get("finish_reason"):
                one.finish.append(choice["finish_reason"])
    return choices, usages, ids


@dataclass(frozen=True)
class Choice:
    """One choice of an answer, to be cut into chunks in many ways."""

    reasoning: str
    content: str
    calls: tuple[tuple[str, str], ...]
    finish: str


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
choices = st.builds(
    Choice,
    reasoning=texts,
    content=texts,
    calls=st.lists(st.tuples(st.sampled_from(["look_up", "add"]), texts), max_size=2).map(tuple),
    finish=st.sampled_from(["stop", "length", "tool_calls"]),
)


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """The text, cut anywhere between its characters."""
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=5)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def streams(draw: st.DrawFn, answer: tuple[Choice, ...], id_: str) -> list[bytes]:
    """The answer as one engine may send it: cut anywhere, its choices mixed, usage at the end of
    each."""
    waiting: list[list[bytes]] = []
    for index, choice in enumerate(answer):
        own = [chunk({"role": "assistant", "content": None}, index, id_)]
        for piece in draw(pieces(choice.reasoning)):
            own.append(chunk({"reasoning_content": piece}, index, id_))
        for piece in draw(pieces(choice.content)):
            own.append(
                chunk({"content": piece}, index, id_, logprobs=[{"token": c} for c in piece])
            )
        for number, (name, arguments) in enumerate(choice.calls):
            head = {"index": number, "id": f"call-{id_}-{number}", "type": "function"}
            own.append(
                chunk(
                    {"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]},
                    index,
                    id_,
                )
            )
            for piece in draw(pieces(arguments)):
                part = {"index": number, "function": {"arguments": piece}}
                own.append(chunk({"tool_calls": [part]}, index, id_))
        own.append(chunk({}, index, id_, finish=choice.finish))
        own.append(usage(3, len(choice.content), id_))
        waiting.append(own)
    sent = []
    while waiting:
        turn = draw(st.integers(0, len(waiting) - 1))
        sent.append(waiting[turn].pop(0))
        waiting = [own for own in waiting if own]
    return sent
