"""What a hive tells a worker to run, and what they say over the lifeline.

The hive listens on one Unix socket; each worker dials it and says `WorkerHello` first, also when it
dials again after its hive was restarted. Lines are JSON. A worker whose lifeline stays broken for
`orphan_s` finishes what it does and ends by itself.
"""

from __future__ import annotations

import msgspec

from rbee.policy.selftest import Answer
from rbee.wire.control import Problem


class WorkerSpec(msgspec.Struct, frozen=True):
    """Orders of a worker: `run/workers/ID/spec.json` (0600), argument of `python -m rbee.worker`.

    The worker's API key is not in it: it comes in the environment as RBEE_WORKER_KEY.
    """

    id: str
    model: str
    """Public name; the engine's alias, so that no path stands in a chunk."""
    path: str
    """The GGUF file."""
    lifeline: str
    """Path of the hive's socket."""
    log: str
    """Path of the append-only file that the hive made stdout and stderr of the worker."""
    digest: str = ""
    digest_known: bool = False
    """Whether somebody else vouches for it; for whoever judges the self-test."""
    mode: str = "chat"
    engine: str = "llama-cpp"
    engine_path: str = ""
    """The `llama-server` binary, for the engine of that name."""
    device: str = "auto"
    """Or several, `cuda:0,cuda:1`."""
    gpu_layers: int = -1
    """How many go to a named device; -1: all."""
    context_tokens: int = 4096
    """Per slot."""
    slots: int = 4
    threads: int = 1
    batch_tokens: int = 64
    """Prefill batch."""
    cache_ram_mib: int = 256
    args: tuple[str, ...] = ()
    """llama-server flags of the user, as is."""
    port: int = 0
    orphan_s: float = 60.0
    selftest_s: float = 45.0
    """For the self-test: less than the hive's patience with a load that does not move on."""
    goldens: dict[str, Answer] = {}
    """What this digest answered to earlier self-tests, by key (`policy.selftest`)."""


class WorkerHello(msgspec.Struct, frozen=True, tag="hello"):
    id: str
    pid: int
    """Of the worker process (its group's leader)."""
    version: str


class Loading(msgspec.Struct, frozen=True, tag="loading"):
    """The engine made progress: a log line, or a fraction where it says one."""

    fraction: float = 0.0


class SelfTest(msgspec.Struct, frozen=True):
    """What the engine answered to the self-test, and what that answer depends on."""

    key: str
    answer: Answer
    took_s: float = 0.0


class Listening(msgspec.Struct, frozen=True, tag="listening"):
    """The engine serves. Said again after a reconnect."""

    port: int
    engine_pid: int
    slots: int
    context_tokens: int
    build: str
    devices: tuple[str, ...] = ("cpu",)
    """What the engine uses, not what was asked for."""
    selftest: SelfTest | None = None
    """None: a worker of an older rbee."""
    offloaded: tuple[int, int] | None = None
    """Layers that it put there, of how many; None: it does not say."""


class LoadFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker's own word before it exits; the log decides when this is missing."""

    problem: Problem


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Hive to worker: end now (streams were drained before)."""


FromWorker = WorkerHello | Loading | Listening | LoadFailed

_encoder = msgspec.json.Encoder()
_from_worker: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)
# A union makes msgspec insist on the tag: alone, `{}` would read as Stop.
_to_worker: msgspec.json.Decoder[FromWorker | Stop] = msgspec.json.Decoder(FromWorker | Stop)
_spec: msgspec.json.Decoder[WorkerSpec] = msgspec.json.Decoder(WorkerSpec)


def encode(message: FromWorker | Stop | WorkerSpec) -> bytes:
    """One line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_from_worker(line: bytes) -> FromWorker:
    """Raises `msgspec.DecodeError` on anything else."""
    return _from_worker.decode(line)


def decode_to_worker(line: bytes) -> Stop:
    """Raises `msgspec.DecodeError` on anything else."""
    message = _to_worker.decode(line)
    if not isinstance(message, Stop):
        raise msgspec.ValidationError("a hive says nothing but Stop")
    return message


def decode_spec(text: bytes) -> WorkerSpec:
    """Raises `msgspec.DecodeError` on anything else."""
    return _spec.decode(text)
