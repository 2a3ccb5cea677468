"""Tool calls of attached servers, and what breaks in the middle of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_bdd import given, parsers, then, when

import plain_http
from faults.openai_double import recorded
from faults.proxy import proxy
from steps.attached import CHAT, armed, attach

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
RECORDED = Path(__file__).parents[1] / "faults" / "recorded" / "llama-server-11434-tool-calls.sse"


@dataclass
class Calls:
    """What a client of a stream has put together."""

    calls: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    finish: list[str] = field(default_factory=list)
    rbee: dict[str, Any] = field(default_factory=dict)

    def take(self, value: dict[str, Any]) -> None:
        assert "error" not in value, value
        self.rbee = value.get("rbee") or self.rbee
        for choice in value["choices"]:
            self.finish += [choice["finish_reason"]] if choice["finish_reason"] else []
            for call in choice["delta"].get("tool_calls") or ():
                said = self.calls.setdefault(call["index"], {"id": [], "name": [], "arguments": []})
                said["id"] += [call["id"]] if call.get("id") else []
                for name, piece in (call.get("function") or {}).items():
                    said[name].append(piece)

    @property
    def said(self) -> list[tuple[str, Any]]:
        """Each call's name and arguments."""
        texts = [("".join(one["name"]), "".join(one["arguments"])) for one in self.calls.values()]
        return [(name, json.loads(arguments)) for name, arguments in texts]

    def check(self, said: list[tuple[str, Any]]) -> None:
        """Those calls and no others, replayed once."""
        assert self.said == said
        assert all(len(one["id"]) == 1 for one in self.calls.values()), self.calls
        assert self.finish == ["tool_calls"]
        (splice,) = self.rbee["splices"]
        assert (splice["mode"], splice["exact"]) == ("replay", False)


def as_recorded() -> list[tuple[str, Any]]:
    found = Calls()
    for value in recorded(RECORDED):
        found.take(value)
    assert found.said
    return found.said


def call(world, *, after: int = 0, deed: Callable[[], None] = lambda: None) -> Calls:
    """Ask for the calls; `deed` is done once so many events have come."""
    found, events = Calls(), 0
    body = {"model": "hermes", "messages": [{"role": "user", "content": "Weather?"}]}
    asked = {**body, "tools": TOOLS, "stream": True}
    with plain_http.stream("POST", world.home.url + CHAT, json=asked, timeout=30) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                found.take(json.loads(line[6:]))
                events += 1
                if events == after:
                    deed()
    return found


@given("two servers behind a broken proxy that say what a llama-server said")
def two_recorded(world, servers, broken_wires):
    world.seen["proxies"] = []
    for _ in range(2):
        port = servers.start("--model", "hermes", "--recorded", str(RECORDED), "--gap-s", "0.03")
        world.seen["proxies"].append(broken_wires.enter_context(proxy(port)))
        attach(world, world.seen["proxies"][-1].port)


@when(parsers.parse("a server is killed after {count:d} events of the recorded tool calls"))
def killed_in_calls(world, servers, count):
    def kill():
        (busy,) = [one["id"] for one in world.home.workers() if one["busy"]]
        world.seen["killed"] = busy
        process = servers.processes[int(busy[1:]) - 1]
        process.kill()
        process.wait()

    world.seen["calls"] = call(world, after=count, deed=kill)


@then(
    parsers.re(
        r"two tool calls come whole and once, "
        r"though the proxy (?P<fault>.+) after (?P<after>\d+) events"
    )
)
def tool_calls(world, fault, after):
    arm = armed(world, fault, int(after))
    found = call(world)
    assert arm.struck
    found.check([("weather", {"city": "Köln", "days": 3}), ("time", {"zone": "CET"})])


@then(
    parsers.re(
        r"the recorded tool calls come whole and once, "
        r"though the proxy (?P<fault>.+) after (?P<after>\d+) events"
    )
)
def recorded_calls(world, fault, after):
    arm = armed(world, fault, int(after))
    found = call(world)
    assert arm.struck
    found.check(as_recorded())


@then("the recorded tool calls came whole and once, from the other")
def from_the_other(world):
    found = world.seen["calls"]
    found.check(as_recorded())
    assert found.rbee["worker"] != world.seen["killed"]
