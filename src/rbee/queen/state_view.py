"""What `rbee ps` and `rbee status` show: a stable contract that other tools rely on."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from rbee.queen.core import Core
from rbee.version import VERSION
from rbee.wire.attached import Address
from rbee.wire.control import WorkerView


def ps(core: Core, pid: int) -> dict[str, Any]:
    """Queen, hives, workers, queues; see README, "For other tools"."""
    hive = core.roster.hive
    limit = core.lanes.queue_limit
    waiting = core.lanes.waiting()
    loaded = {worker.model for worker in core.roster.workers.values()}
    known = [served.name for served in core.models.all(core.roster.models)]
    return {
        "queen": {"pid": pid, "url": core.url, "version": VERSION},
        "hives": []
        if hive is None
        else [{"id": hive.hive, "pid": hive.pid, "state": _state(core)}],
        "workers": [_worker(core, worker) for worker in core.roster.workers.values()],
        "queues": {
            name: _queue(core, name, waiting.get(name, 0), limit)
            for name in sorted({*loaded, *known, *waiting})
        },
        "models_unloaded": [name for name in known if name not in loaded],
        "devices": [structs.asdict(device) for device in (hive.devices if hive else ())],
        "devices_unusable": [
            structs.asdict(device) for device in (hive.devices if hive else ()) if not device.usable
        ],
    }


def status(core: Core, pid: int, *, full: bool) -> dict[str, Any]:
    """Whether rbee is up, and on what; `full` adds what only this user may see."""
    hive = core.roster.hive
    problem = core.link.mismatch
    found: dict[str, Any] = {
        "version": VERSION,
        "pid": pid,
        "url": core.url,
        "ready": core.roster.hive_connected,
        "key_needed": core.key_needed,
        "problem": problem.code if problem else None,
        "message": str(problem) if problem else None,
        "hive": None if hive is None else {"pid": hive.pid, "state": _state(core)},
        "machine": hive.machine if hive else None,
        "cores": hive.cores if hive else None,
        "memory_bytes": hive.memory_bytes if hive else None,
        "engine": None,
        "devices": [structs.asdict(device) for device in hive.devices] if hive else [],
    }
    if hive is not None:
        engine = structs.asdict(hive.engine)
        engine["devices"] = [structs.asdict(device) for device in hive.engine.devices]
        if not full:
            engine.pop("path")
        found["engine"] = engine
    if full:
        found["home"] = core.settings.home
    return found


def _state(core: Core) -> str:
    return "connected" if core.roster.hive_connected else "lost"


def _queue(core: Core, model: str, waiting: int, limit: int) -> dict[str, Any]:
    """A waiting line, and how long one more request would wait in it; None: not measured yet."""
    lane = (model, "chat")
    free = core.roster.board(lane).free and not waiting
    wait_s = 0.0 if free else core.lanes.expected_wait_s(lane, waiting + 1)
    shown = None if wait_s is None else round(wait_s, 1)
    return {"waiting": waiting, "limit": limit, "expected_wait_s": shown}


def _worker(core: Core, worker: WorkerView) -> dict[str, Any]:
    busy = core.roster.busy.get(worker.id, 0)
    return {
        "id": worker.id,
        "pid": worker.pid,
        "port": worker.port,
        "model": worker.model,
        "digest": worker.digest,
        "state": worker.state,
        "device": worker.device,
        "degraded": worker.degraded,
        "hive": worker.hive,
        "slots": worker.slots,
        "busy": busy,
        "restarts": worker.restarts,
        "mode": worker.mode,
        "context_tokens": worker.context_tokens,
        "engine": worker.engine,
        "build": worker.build,
        "memory_bytes": worker.memory_bytes,
        "progress": worker.progress,
        "loaded_in_s": worker.loaded_in_s,
        "tokens_per_s": core.counters.tokens_per_s(worker.id, core.clock()),
        "unloads_in_s": _unloads_in_s(core, worker, busy),
        "problem": None if worker.problem is None else worker.problem.code,
        "problem_message": None if worker.problem is None else worker.problem.message,
        "retry_in_s": worker.retry_in_s,
        "waits_for": list(worker.waits_for),
        "health": core.health.view(worker),
        "attached": worker.attached,
        "address": _address(worker),
        "delay_ms": core.attached.delay_ms(worker.id),
    }


def _address(worker: WorkerView) -> str | None:
    """Where an attached server is; None: ours, on this machine."""
    if not worker.attached:
        return None
    return Address(worker.host, worker.port, worker.base, worker.tls).address


def _unloads_in_s(core: Core, worker: WorkerView, busy: int) -> float | None:
    """Seconds until an idle worker unloads; None: never, or not idle."""
    wish = core.wishes.get((worker.model, worker.mode))
    if wish is None or wish.keep_alive_s < 0 or busy or worker.state != "READY":
        return None
    idle_s = core.clock() - core.roster.idle_since.get(worker.id, core.clock())
    return round(max(0.0, wish.keep_alive_s - idle_s), 1)
