"""`rbee ps`: what runs, where, and how busy it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rbee.errors import human_bytes
from rbee.keeper.connection import checked
from rbee.keeper.parsing import Parser
from rbee.keeper.render import Marks, Screen, duration, put, table

_HEAD = (
    *("MODEL", "WORKER", "RUNS ON", "STATE", "BUSY", "WAIT", "TOK/S", "CTX", "MEMORY", "UNLOADS"),
)
_RIGHT = (4, 5, 6, 7, 8)


def run(command: str, arguments: Sequence[str]) -> int:
    asked = Parser("ps", "What runs, where, and how busy it is.").parse(arguments)
    found = checked(asked.url).get("/rbee/ps")
    if asked.json:
        put(found)
        return 0
    screen = Screen.on(sys.stderr)
    rows = [worker_row(one, found["queues"]) for one in found["workers"]]
    for name in found["models_unloaded"]:
        waiting = found["queues"].get(name, {}).get("waiting", 0)
        rows.append([name, "–", "–", "unloaded", "", str(waiting), "", "", "", "loads when asked"])
    print(table(_HEAD, rows, right=_RIGHT) if rows else "No model is stored or loaded.")
    for line in remarks(found, screen):
        print(line)
    return 0


def worker_row(worker: Mapping[str, Any], queues: Mapping[str, Any]) -> list[str]:
    """One worker as cells."""
    rate = worker.get("tokens_per_s")
    memory = worker.get("memory_bytes")
    mode = "" if worker.get("mode", "chat") == "chat" else f" ({worker['mode']})"
    return [
        f"{worker['model']}{mode}",
        str(worker["id"]),
        str(worker["device"] or "–"),
        _state(worker),
        f"{worker['busy']}/{worker['slots']}" if worker["slots"] else "–",
        _waiting(queues.get(worker["model"], {})),
        f"{rate:.0f}" if rate and rate >= 1 else "–",
        str(worker.get("context_tokens") or "–"),
        human_bytes(int(memory)) if memory else "–",
        _unloads(worker),
    ]


def _waiting(queue: Mapping[str, Any]) -> str:
    """How many wait, and how long one more would."""
    count, wait_s = queue.get("waiting", 0), queue.get("expected_wait_s")
    return f"{count}, {duration(wait_s)}" if count and wait_s else str(count)


def _state(worker: Mapping[str, Any]) -> str:
    state = str(worker["state"]).lower().replace("_", " ")
    health = worker.get("health") or {}
    if health.get("breaker", "closed") != "closed":
        return f"{state}, cut off"
    share = worker.get("progress")
    if state == "loading" and share:
        return f"loading {float(share) * 100:.0f} %"
    return f"{state}, degraded" if worker["degraded"] and state in ("ready", "busy") else state


def _unloads(worker: Mapping[str, Any]) -> str:
    if worker["state"] not in ("READY", "BUSY"):
        return "–"
    left_s = worker.get("unloads_in_s")
    if left_s is None:
        return "never" if worker["state"] == "READY" else "–"
    return f"in {duration(float(left_s))}"


def _ill(worker: Mapping[str, Any], mark: Marks) -> list[str]:
    """A worker that gets less than its share, and why."""
    health = worker.get("health") or {}
    name = f"{worker['model']} ({worker['id']})"
    lines = []
    if health.get("breaker", "closed") != "closed":
        left_s = health.get("retry_in_s")
        again = f"tried again in {duration(left_s)}" if left_s else "tried again with one request"
        lines.append(f"{mark.failed} {name} failed too often; {again} {mark.then} rbee events")
    slow = health.get("slow")
    if slow:
        times = f"{duration(slow['own_s'])} against {duration(slow['peers_s'])} of its peers"
        lines.append(f"{mark.other} {name} is slow, {slow['what']} {times}; it gets less work")
    return lines


def remarks(found: Mapping[str, Any], screen: Screen) -> list[str]:
    """What works, but not as asked; and the sum."""
    lines = [""]
    mark = screen.marks
    for one in found["workers"]:
        if one["degraded"]:
            lines.append(f"{mark.other} {one['model']} ({one['id']}): {one['degraded']}")
        lines += _ill(one, mark)
        if one.get("waits_for"):
            names = ", ".join(one["waits_for"])
            lines.append(f"{mark.other} {one['model']} ({one['id']}) waits for memory: {names}")
        if one.get("problem"):
            told = one.get("problem_message") or one["problem"]
            retry_s = one.get("retry_in_s")
            again = f"; next try in {duration(retry_s)}" if retry_s else ""
            then = f" {mark.then} rbee explain {one['problem']}"
            lines.append(f"{mark.failed} {one['model']} ({one['id']}): {told}{again}{then}")
    for device in found.get("devices_unusable", ()):
        then = f" {mark.then} {device['advice']}" if device["advice"] else ""
        lines.append(f"{mark.other} {device['name']} cannot be used by this engine{then}")
    for device in found.get("devices", ()):
        if device["rests"]:
            left_s = max(0.0, device["rests_until"] - time.time())
            again = f"looked for again in {duration(left_s)}"
            lines.append(f"{mark.other} {device['id']} rests, {again}: {device['rests']}")
        if device["hot"]:
            lines.append(f"{mark.other} {device['id']} is too hot: {device['celsius']} °C")
    for machine in found["hives"]:
        if machine["state"] != "connected":
            lines.append(f"{mark.failed} machine {machine['id']} does not answer; rbee restarts it")
    waiting = sum(queue["waiting"] for queue in found["queues"].values())
    memory = sum(int(one.get("memory_bytes") or 0) for one in found["workers"])
    lines.append(f"{human_bytes(memory)} used · {waiting} waiting · {found['queen']['url']}")
    return lines
