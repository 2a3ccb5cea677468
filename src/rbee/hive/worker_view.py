"""What the queen is told of a worker."""

from __future__ import annotations

import hashlib

import msgspec

from rbee.hive.worker_owner import WorkerOwner
from rbee.policy.worker_life import State
from rbee.wire.control import WorkerView
from rbee.wire.lifeline import WorkerSpec

_NO_PROCESS = frozenset({State.FAILED, State.QUARANTINED, State.STOPPED})

_MIB = 1 << 20


def view_of(owner: WorkerOwner, hive_id: str) -> WorkerView:
    """All of it, as it is now; a dead process has no pid, port or key any more."""
    run = owner.run
    said = run.listening if run else None
    alive = run is not None and owner.state not in _NO_PROCESS
    return WorkerView(
        id=owner.id,
        hive=hive_id,
        model=owner.wish.name,
        ref=owner.wish.ref,
        mode=owner.wish.mode,
        state=owner.state.value,
        pid=run.pid if run and alive else 0,
        port=said.port if said and alive else 0,
        key=run.key if run and alive else "",
        digest=run.spec.digest if run else "",
        device=",".join(said.devices) if said else "",
        degraded=run.degraded if run else "",
        slots=said.slots if said else 0,
        context_tokens=said.context_tokens if said else 0,
        engine=run.spec.engine if run else "",
        build=said.build if said else "",
        busy=owner.busy,
        restarts=owner.restarts,
        progress=round(run.progress, 2) if run else 0.0,
        memory_bytes=run.memory_bytes // _MIB * _MIB if run and alive else 0,
        loaded_in_s=round(run.loaded_in_s, 3) if run else 0.0,
        problem=owner.problem,
        retry_in_s=round(owner.retry_in_s, 1),
        leaves=", ".join(owner.leaves),
        waits_for=owner.waits_for,
        settings=fingerprint(run.spec) if run else "",
    )


def fingerprint(spec: WorkerSpec) -> str:
    """Equal for workers that, with file, build and device equal, give the same text.

    Flash attention, types of the KV cache, samplers and chat template are flags (`args`) or stand
    in the file. Threads do not count: the text was the same over them (docs/measured.md, Replay).
    """
    decides = (
        spec.mode,
        spec.engine,
        spec.context_tokens,
        spec.slots,
        spec.batch_tokens,
        spec.gpu_layers,
        spec.args,
    )
    return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:16]
