"""What can be set, as frozen values: pure, told everything it needs.

A person sets at most the 25 keys of the TOML; `wire.config` reads them, with `RBEE_*` and flags on
top. The limits in `Limits` and `Timing` are all fields, so that a scenario can use short ones;
those that are no TOML key are set by `RBEE_` + the field's name in capitals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

KEEP_ALWAYS = -1.0
"""`keep_alive = "always"`: loaded at start, never unloaded when idle."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How one model is run. The block `[defaults]` gives these for all models."""

    name: str = ""
    source: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    """Any llama-server flag, as is."""
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Sampler defaults, used where a request sends none."""
    keep_alive_s: float = 300.0
    """Idle time after which a worker unloads (Ollama's default); KEEP_ALWAYS never."""
    device: str = "auto"
    fallback: bool = True
    replicas: int = 1
    ctx: int = 0
    """Tokens per slot; 0: what the model was trained for, at most AUTO_CTX."""
    parallel: int = 0
    """Slots per worker; 0: AUTO_PARALLEL."""
    trust: bool = False
    """Served although its self-test is no proof; only `rbee serve --trust` says so, no file."""


AUTO_CTX = 4096
AUTO_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person may bound (TOML section `[limits]`)."""

    queue: int = 100
    """Waiting requests per model; one more gets 503 QUEUE_FULL with a time, and at that time a
    place, even if the line is still full: half as many more at most."""
    queue_wait_s: float = 60.0
    """Longest wait for a slot; loading does not count."""
    stall_s: float = 60.0
    """No token and no prompt progress for so long: the attempt is given up."""
    total_s: float = 0.0
    """Longest life of a request; 0: none (long prefills at home are honest work)."""
    disk_reserve_bytes: int = 1 << 30
    """Left free on the disk of the models."""
    download_bytes_per_s: int = 0
    """Most that downloads take of the network, each by itself; 0: as much as there is."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Limits that are not in the TOML; `RBEE_DRAIN_S=2` sets `drain_s`."""

    connect_s: float = 2.0
    dial_first_s: float = 1.0
    """The command line's first pause before it dials a distant rbee again; then it doubles."""
    dial_open_s: float = 60.0
    """How long a distant rbee that did not answer is left alone."""
    silence_s: float = 4.0
    """No byte at all from a worker, engine pings (1 a second) included."""
    probe_s: float = 1.0
    worker_start_s: float = 30.0
    load_stall_s: float = 60.0
    connect_web_s: float = 10.0
    """For a connection to a source of models; curl's, pip's and Go's defaults are 10 to 30 s."""
    download_stall_s: float = 30.0
    """No byte of a part for so long: it is asked for again."""
    download_trickle_s: float = 60.0
    """Less than 1 KiB/s over so long a time: the same."""
    download_pause_s: float = 1800.0
    """How long a download waits for room on a full disk, before it gives up."""
    drain_s: float = 30.0
    end_streams_s: float = 5.0
    term_s: float = 5.0
    """Between SIGTERM and SIGKILL."""
    orphan_s: float = 60.0
    """How long a hive without its queen, or a worker without its hive, waits before it ends."""
    health_every_s: float = 5.0
    """Between two looks at a server that somebody else runs."""
    attached_first_token_s: float = 120.0
    """Such a server tells no progress: it has so long for its own queue and a whole prompt."""
    attached_token_s: float = 60.0
    attached_probe_s: float = 5.0
    """For its list of models to come."""
    attached_gone_s: float = 12.0
    """Its machine's kernel answers nothing for so long: it is gone; a shorter flap is borne."""
    breaker_open_s: float = 60.0
    """How long a worker that somebody else runs gets nothing after too many faults."""
    breaker_open_local_s: float = 10.0
    """The same for a worker of ours: the hive sees its process, and brings a new one soon."""
    slow_start_s: float = 20.0
    """From a quarter of its slots to all of them, after a worker recovered beside others."""
    memory_look_s: float = 5.0
    """Between two looks at how short memory is."""
    hold_status_s: float = 10.0
    """How long the status line is held back, so that a refusal has its true status."""
    comment_every_s: float = 15.0
    request_head_s: float = 10.0
    """For a whole request head to arrive (slow loris)."""
    request_body_s: float = 60.0
    idle_connection_s: float = 120.0
    restart_first_s: float = 1.0
    restart_cap_s: float = 60.0
    device_rest_s: float = 60.0
    """How long a device that failed gets no model, the first time; then twice as long."""
    device_rest_cap_s: float = 3600.0
    restart_every_s: float = 3.0
    """Between unasked starts, over all workers, once many have died together."""
    hive_restart_s: float = 0.1
    hive_ping_s: float = 2.0
    """A hive that says nothing to five pings in a row hangs, and is started again."""
    hive_start_s: float = 20.0
    """One that has not dialled for so long hangs too; on an idle machine it takes a second."""
    job_kept_s: float = 300.0
    """How long a job that has ended is kept."""
    reattach_s: float = 30.0
    """A job that ends with its client: how long it may be alone before it is cancelled."""
    retry_attach_s: float = 60.0
    """How long the answer of an SDK that timed out waits for its next try."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes that nothing from outside exceeds."""

    body_bytes: int = 64 << 20
    header_bytes: int = 64 << 10
    header_count: int = 100
    target_bytes: int = 8 << 10
    nesting: int = 64
    connections: int = 8192
    write_buffer_bytes: int = 256 << 10
    event_bytes: int = 16 << 20
    """One SSE event of an engine."""
    retries_per_minute: int = 10
    """Requests that may be tried again whatever the traffic, beyond them a fifth of it; 0: none of
    those that are not in this fifth."""
    control_message_bytes: int = 4 << 20
    worker_log_bytes: int = 16 << 20
    log_bytes: int = 16 << 20
    """Of queen and hive each; then their log is turned over, once."""
    jobs: int = 1000
    """Jobs that are kept, running ones included."""
    jobs_bytes: int = 128 << 20
    """What their requests and answers may take together, in memory and in the journal each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that queen, hive and keeper are told."""

    home: str
    """RBEE_HOME: all state of this rbee; two homes never touch each other."""
    host: str = "127.0.0.1"
    port: int = 7833
    origins: tuple[str, ...] = ("loopback",)
    models_dir: str = ""
    """Where model files live; empty: `home/models`."""
    engine_backend: str = "auto"
    engine_path: str = ""
    """The user's own llama-server; empty: the built-in engine."""
    threads: int = 0
    """Engine threads per worker; 0: physical cores the worker may use, shared among replicas."""
    worker_ports: tuple[int, int] = (0, 0)
    """First and last port of workers (`RBEE_WORKER_PORTS=9100-9110`); 0: any that is free."""
    memory_bytes: int = 0
    """What all workers together may take of this machine's memory (`RBEE_MEMORY`); 0: what is
    available."""
    worker_memory_bytes: int = 0
    """Where the control group of each worker stops it (`RBEE_WORKER_MEMORY`); 0: a fifth above what
    it was estimated to need."""
    least_ctx: int = 2048
    """Tokens per slot below which rbee shortens no context by itself (`RBEE_LEAST_CTX`)."""
    defaults: ModelSettings = field(default_factory=ModelSettings)
    models: Mapping[str, ModelSettings] = field(default_factory=lambda: MappingProxyType({}))
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)
    bounds: Bounds = field(default_factory=Bounds)
