"""What queen and hive say to one another: JSON lines over a 0600 Unix socket.

The hive dials the queen (in a fleet, hives dial out). Its first line is `Hello`, the queen answers
`Welcome` or `Refused`, and versions must be equal. After that the hive tells what is (`WorkerView`,
`WorkerGone`, `ModelView`, `Progress`, `Happened`), and the queen says what shall be: `Want`
(idempotent: the whole wish for one model), `Unwant`, `Busy`, and calls that are answered by `Done`
or `Failed` with the call's id. A worker speaks the lifeline protocol (`worker.lifeline`) instead.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rbee.wire.machine import Device as Device
from rbee.wire.machine import EngineView as EngineView
from rbee.wire.machine import Holder as Holder
from rbee.wire.store_calls import Import as Import
from rbee.wire.store_calls import Outdated as Outdated
from rbee.wire.store_calls import Pin as Pin
from rbee.wire.store_calls import Prune as Prune
from rbee.wire.store_calls import TakeStock as TakeStock
from rbee.wire.store_calls import Verify as Verify

ATTACHED: Final = "attached"
"""The engine of a worker that is a server of somebody else."""


class Problem(msgspec.Struct, frozen=True):
    """An error as it crosses a socket; see `wire.problem`."""

    code: str
    message: str
    action: str = ""
    means: str = ""
    status: int = 500
    exit: int = 1
    retry: str = "never"
    details: dict[str, Any] = {}


class ModelWish(msgspec.Struct, frozen=True):
    """How a model shall be run; equal wishes are the same wish."""

    name: str
    """The public name, also the engine's alias."""
    ref: str
    """What the store knows it by (`smollm2:135m`, `file:///…`)."""
    mode: str = "chat"
    """`chat` (completions too) or `embedding` (a worker of another kind of the same model)."""
    replicas: int = 1
    device: str = "auto"
    fallback: bool = True
    ctx: int = 0
    parallel: int = 0
    args: tuple[str, ...] = ()
    keep_alive_s: float = 300.0
    trust: bool = False


class WorkerView(msgspec.Struct, frozen=True):
    """All that anybody outside the hive knows of a worker; sent anew at every change."""

    id: str
    hive: str
    model: str
    ref: str
    mode: str
    state: str
    """A state of `policy.worker_life`."""
    pid: int = 0
    """The process that runs the engine."""
    port: int = 0
    key: str = ""
    """API key of the worker; never shown, never logged."""
    digest: str = ""
    device: str = ""
    degraded: str = ""
    """Why it runs on less than was asked for; empty: as asked."""
    slots: int = 0
    context_tokens: int = 0
    engine: str = ""
    build: str = ""
    busy: int = 0
    restarts: int = 0
    progress: float = 0.0
    """Loading: 0 to 1 where the engine says it."""
    memory_bytes: int = 0
    loaded_in_s: float = 0.0
    problem: Problem | None = None
    """FAILED, QUARANTINED or waiting to be started again: why."""
    retry_in_s: float = 0.0
    leaves: str = ""
    """The device that failed under it: its next process is on another one."""
    waits_for: tuple[str, ...] = ()
    """Models that hold the memory it needs, and that are to leave."""
    settings: str = ""
    """A fingerprint of what beside file, build and device decides the text: equal ones repeat one
    another."""
    host: str = "127.0.0.1"
    base: str = "/v1"
    """The path that stands for `/v1` on it."""
    tls: bool = False
    theirs: str = ""
    """The name that the server of an attached worker has for the model."""

    @property
    def attached(self) -> bool:
        """It is a server that somebody else runs."""
        return self.engine == ATTACHED


class ModelView(msgspec.Struct, frozen=True):
    """A model in a hive's store."""

    name: str
    """What clients call it: the catalogue's name, or the stem of a file."""
    ref: str
    """What the store knows it by: `smollm2:135m`, `pypi:…`, `file:///…`."""
    size_bytes: int
    digest: str
    """`sha256:…`; for a `file:` model its own, taken at import."""
    source: str
    added_at: float
    digest_known: bool = True
    """Whether somebody else vouches for the digest; of a person's own file nobody does."""
    revision: str = ""
    architecture: str = ""
    context_train_tokens: int = 0
    embedding_length: int = 0
    parameters: int = 0
    quantisation: str = ""
    path: str = ""
    """For the keeper's screens only; never over HTTP on the network address."""
    pinned: bool = False
    """It is never pruned."""
    used_at: float = 0.0
    """When it was loaded last; never: when it was added."""
    superseded: tuple[str, ...] = ()
    """Digests of versions before an update that workers may still use."""


# --- hive to queen ---------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    version: str
    protocol: int
    hive: str
    pid: int
    machine: str
    cores: int
    memory_bytes: int
    engine: EngineView
    devices: tuple[Device, ...]
    workers: tuple[WorkerView, ...] = ()
    models: tuple[ModelView, ...] = ()


class WorkerChanged(msgspec.Struct, frozen=True, tag="worker"):
    worker: WorkerView


class WorkerGone(msgspec.Struct, frozen=True, tag="gone"):
    id: str
    model: str
    mode: str
    problem: Problem | None = None
    """Why it ended, if nobody asked for it."""


class ModelsChanged(msgspec.Struct, frozen=True, tag="models"):
    models: tuple[ModelView, ...]


class EngineChanged(msgspec.Struct, frozen=True, tag="engine"):
    """The hive knows its engine better than at its `Hello`, or another one was chosen."""

    engine: EngineView
    devices: tuple[Device, ...]


class Unservable(msgspec.Struct, frozen=True, tag="unservable"):
    """A wish that cannot be fulfilled now; whoever waits for it is answered with this."""

    model: str
    mode: str
    problem: Problem


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Of a pull: bytes done of bytes in all (0: not known)."""

    call: str
    phase: str
    """`resolving`, `fetching`, `verifying`, `repairing`, `unpacking`."""
    done_bytes: int
    total_bytes: int


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """A fault and what was done about it, for `rbee events`."""

    at: float
    code: str
    what: str
    done: str
    outcome: str
    """`ok`, `open` (needs a person) or `lost`."""
    model: str = ""
    worker: str = ""
    job: str = ""
    request: str = ""
    """The id that the client gave it."""
    subject: str = ""
    """What it is about, where its end will be told: an `ok` of it ends each `open` before."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    call: str
    result: Any = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    call: str
    problem: Problem


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    pass


# --- queen to hive ---------------------------------------------------------------------------


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    version: str
    wishes: tuple[ModelWish, ...]
    """The whole desired state; workers of models that are not in it drain."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    problem: Problem


class Want(msgspec.Struct, frozen=True, tag="want"):
    """Have this model served, now; also clears a quarantine and remembered failures if `fresh`."""

    wish: ModelWish
    fresh: bool = False


class Unwant(msgspec.Struct, frozen=True, tag="unwant"):
    model: str
    mode: str = ""
    """Empty: all modes of it."""


class Busy(msgspec.Struct, frozen=True, tag="busy"):
    """How many answers the queen has running on a worker; sent when it changes."""

    worker: str
    count: int


class Suspect(msgspec.Struct, frozen=True, tag="suspect"):
    """The queen saw a worker hang (no bytes, probe unanswered): the hive ends it."""

    worker: str
    problem: Problem


class StopWorker(msgspec.Struct, frozen=True, tag="stop"):
    """Stop one worker at once (a wish brings another)."""

    call: str
    worker: str


class DrainWorker(msgspec.Struct, frozen=True, tag="drain"):
    """Have another worker take the place of this one; `Done` when its answers are finished and it
    is gone."""

    call: str
    worker: str


class Pull(msgspec.Struct, frozen=True, tag="pull"):
    """Have a model in the store; answered by `Done` with its ModelView; `Progress` on the way."""

    call: str
    name: str


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    call: str
    ref: str


class Logs(msgspec.Struct, frozen=True, tag="logs"):
    """The last lines of a worker's log; `Done` with a list of strings."""

    call: str
    worker: str
    lines: int = 100


class CancelCall(msgspec.Struct, frozen=True, tag="cancel"):
    call: str


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    pass


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """Drain all workers within `drain_s`, stop them, exit."""

    drain_s: float
    keep_workers: bool = False
    """Only the hive ends: another one takes its workers back."""


FromHive = (
    Hello
    | WorkerChanged
    | WorkerGone
    | ModelsChanged
    | EngineChanged
    | Unservable
    | Progress
    | Happened
    | Done
    | Failed
    | Pong
)

ToHive = (
    Welcome
    | Refused
    | Want
    | Unwant
    | Busy
    | Suspect
    | StopWorker
    | DrainWorker
    | Pull
    | Remove
    | Verify
    | TakeStock
    | Pin
    | Prune
    | Import
    | Outdated
    | Logs
    | CancelCall
    | Ping
    | Leave
)

_encoder = msgspec.json.Encoder()
_from_hive: msgspec.json.Decoder[FromHive] = msgspec.json.Decoder(FromHive)
_to_hive: msgspec.json.Decoder[ToHive] = msgspec.json.Decoder(ToHive)


def encode(message: FromHive | ToHive) -> bytes:
    """One line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_from_hive(line: bytes) -> FromHive:
    """Raises `msgspec.DecodeError` on anything else than a message of a hive."""
    return _from_hive.decode(line)


def decode_to_hive(line: bytes) -> ToHive:
    """Raises `msgspec.DecodeError` on anything else than a message of the queen."""
    return _to_hive.decode(line)
