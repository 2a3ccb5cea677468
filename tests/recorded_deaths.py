"""Deaths of engines: how to bring each about on a real one, and what was recorded then.

`python -m tests.recorded_deaths` writes `tests/policy/fixtures/engine_log.toml` anew; it needs both
engines (RBEE_TEST_LLAMA_SERVER).
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbee.policy import crashes
from rbee.worker import describe
from tests.damaged_gguf import DAMAGES
from tests.model_file import model_path
from tests.worker_run import WorkerRun, worker_run

FIXTURE = Path(__file__).parent / "policy" / "fixtures" / "engine_log.toml"
KEPT_LINES = 10


@dataclass(frozen=True)
class Case:
    """One way to die. `row` is the row of the table that must tell it; empty: none can."""

    name: str
    row: str
    code: str
    damage: str = ""
    args: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    address_space_mib: int = 0
    port_taken: bool = False
    model: str = ""
    """Another path than that of the model: `missing`, `folder`, `loop`."""
    kill: int = 0
    """Sent to the engine once it serves."""
    engines: tuple[str, ...] = ("llama-cpp", "llama-server")
    program: str = ""
    """Instead of llama-server: `true`, or `lone` (it without its libraries)."""

    @property
    def how(self) -> str:
        """The way to bring it about again, in words."""
        ways = [
            self.damage and f"the model file damaged: {self.damage} (tests/damaged_gguf.py)",
            self.model and f"instead of the model file: {self.model}",
            self.args and f"flags: {' '.join(self.args)}",
            self.settings and ", ".join(f"{key} = {value}" for key, value in self.settings.items()),
            self.address_space_mib and f"RLIMIT_AS of {self.address_space_mib} MiB",
            self.port_taken and "its port held by another program",
            self.kill and f"{signal.Signals(self.kill).name} once it serves",
            self.program and f"instead of llama-server: {self.program}",
        ]
        return "; ".join(way for way in ways if way)


def _damaged(damage: str, row: str, code: str = "MODEL_CORRUPTED") -> Case:
    return Case(damage, row, code, damage=damage)


_UNFIT = "MODEL_UNSUPPORTED"
_ARGUMENT = "ENGINE_ARGUMENT"
_MEMORY = "WORKER_OUT_OF_MEMORY"

CASES: tuple[Case, ...] = (
    _damaged("zero_length", "no magic"),
    Case("folder", "no magic", "MODEL_CORRUPTED", model="folder"),
    Case("missing", "missing file", "MODEL_FILE_MISSING", model="missing"),
    Case("link to itself", "unreadable file", "MODEL_UNSUPPORTED", model="loop"),
    _damaged("ten_bytes", "header cut"),
    _damaged("html_page", "web page"),
    _damaged("magic_flipped", "bad magic"),
    _damaged("version_99", "newer format", _UNFIT),
    _damaged("version_1", "oldest format", _UNFIT),
    _damaged("version_0", "format version"),
    _damaged("big_endian", "byte order", _UNFIT),
    _damaged("half", "truncated data"),
    _damaged("one_byte_short", "truncated data"),
    _damaged("no_tensor_data", "truncated data"),
    _damaged("truncated_metadata", "metadata cut"),
    _damaged("n_kv_too_large", "string length"),
    _damaged("n_kv_huge", "counts"),
    _damaged("n_tensors_huge", "counts"),
    _damaged("n_tensors_one_more", "string length"),
    _damaged("n_tensors_one_less", "tensor missing"),
    _damaged("key_length_huge", "string length"),
    _damaged("key_type_unknown", "metadata type"),
    _damaged("tensor_type_unknown", "tensor type", _UNFIT),
    _damaged("tensor_dims_five", "tensor dimensions"),
    _damaged("tensor_offset_odd", "tensor offset"),
    _damaged("tensor_shape_wrong", "tensor offset"),
    _damaged("tensor_name_twice", "tensor twice"),
    _damaged("tensor_missing", "tensor missing"),
    _damaged("architecture_unknown", "architecture", _UNFIT),
    _damaged("context_length_missing", "metadata missing"),
    _damaged("block_count_missing", "metadata missing"),
    _damaged("rope_dimensions_odd", "metadata unfit"),
    _damaged("block_count_zero", "layers"),
    _damaged("feed_forward_wrong", "tensor shape"),
    _damaged("tokens_missing", "vocabulary missing"),
    _damaged("merges_missing", "vocabulary missing"),
    _damaged("tokenizer_unknown", "tokenizer", _UNFIT),
    _damaged("token_twice", "vocabulary"),
    _damaged("nan_in_a_block", "tensor values"),
    Case("port taken", "port taken", "PORT_TAKEN", port_taken=True),
    Case(
        "context of 800,000 tokens in 3 GB",
        "allocation refused",
        _MEMORY,
        settings={"context_tokens": 800_000},
        address_space_mib=3000,
    ),
    Case("1 GB of addresses", "no more threads", _MEMORY, address_space_mib=1000),
    Case(
        "300 MB of addresses",
        "mapping refused",
        _MEMORY,
        address_space_mib=300,
        engines=("llama-cpp",),
    ),
    Case(
        "156 MB of addresses",
        "bad_alloc",
        _MEMORY,
        address_space_mib=156,
        engines=("llama-cpp",),
    ),
    Case(
        "120 MB of addresses",
        "no thread",
        _MEMORY,
        address_space_mib=120,
        engines=("llama-cpp",),
    ),
    Case("unknown flag", "unknown flag", _ARGUMENT, args=("--no-such-flag", "3")),
    Case("flag alone", "flag without a value", _ARGUMENT, args=("--keep",), engines=("llama-cpp",)),
    Case(
        "bad value of an enum",
        "bad value",
        _ARGUMENT,
        args=("--cache-type-k", "q9_9"),
        engines=("llama-server",),
    ),
    Case("LoRA that is not there", "LoRA adapter", _ARGUMENT, args=("--lora", "none.gguf")),
    Case("draft that is not there", "draft model", _ARGUMENT, args=("-md", "none.gguf")),
    Case("model as projector", "multimodal projector", _ARGUMENT, args=("--mmproj", "MODEL")),
    Case(
        "broken template",
        "chat template",
        _ARGUMENT,
        args=("--chat-template", "{% if %}"),
        engines=("llama-cpp",),
    ),
    Case(
        "template refused",
        "chat template refused",
        _ARGUMENT,
        args=("--chat-template", "{% if %}"),
        engines=("llama-server",),
    ),
    Case(
        "quantised V cache without flash attention",
        "quantised V cache",
        _ARGUMENT,
        args=("--flash-attn", "off", "--cache-type-v", "q8_0"),
    ),
    Case(
        "300 slots",
        "slots",
        _ARGUMENT,
        settings={"slots": 300, "context_tokens": 32},
    ),
    Case("batch of nothing", "assertion", "WORKER_CRASHED", args=("--batch-size", "0")),
    Case("killed", "", "WORKER_KILLED", kill=signal.SIGKILL),
    Case("segmentation fault", "", "WORKER_CRASHED", kill=signal.SIGSEGV),
    Case("abort", "", "WORKER_CRASHED", kill=signal.SIGABRT),
    Case(
        "told to end by another", "", "WORKER_CRASHED", kill=signal.SIGTERM, engines=("llama-cpp",)
    ),
    Case(
        "ended by itself with 0",
        "",
        "WORKER_CRASHED",
        engines=("llama-server",),
        program="true",
    ),
    Case(
        "libraries missing",
        "library missing",
        "ENGINE_MISSING",
        engines=("llama-server",),
        program="lone",
    ),
)


@dataclass(frozen=True)
class Recorded:
    """What one case left behind on one engine."""

    name: str
    engine: str
    build: str
    row: str
    code: str
    cause: str
    returncode: int
    lines: tuple[str, ...]
    how: str

    def death(self) -> crashes.Death:
        return classify(self.returncode, self.lines)


def classify(returncode: int, lines: tuple[str, ...]) -> crashes.Death:
    """The policy's verdict on a return code as subprocess has it."""
    return crashes.classify(
        returncode=returncode if returncode >= 0 else None,
        signal=-returncode if returncode < 0 else None,
        log_tail=lines,
        oom_kills=0,
        asked=False,
        model="smollm2:135m",
        worker="w1",
    )


def recorded() -> list[Recorded]:
    """The fixture."""
    rows = tomllib.loads(FIXTURE.read_text(encoding="utf-8"))["death"]
    return [Recorded(**{**row, "lines": tuple(row["lines"])}) for row in rows]


def bring_about(case: Case, engine: str, folder: Path, model: Path) -> tuple[int, tuple[str, ...]]:
    """Do it on the real engine: return code of the worker, and what its log holds."""
    settings: dict[str, Any] = dict(case.settings)
    settings["args"] = tuple(str(model) if arg == "MODEL" else arg for arg in case.args)
    settings["engine"] = engine
    if engine == "llama-server":
        settings["engine_path"] = _program(case.program, folder)
    taken = socket.create_server(("127.0.0.1", 0)) if case.port_taken else None
    if taken is not None:
        settings["port"] = taken.getsockname()[1]
    try:
        path = _model(case, folder, model)
        with worker_run(folder, path, before=_bound(case.address_space_mib), **settings) as run:
            if case.kill:
                _kill(run, case.kill)
            returncode = run.exit()
            return returncode, tuple(run.log_text().splitlines())
    finally:
        if taken is not None:
            taken.close()


def _kill(run: WorkerRun, number: int) -> None:
    os.kill(run.listening().engine_pid, number)


def _program(program: str, folder: Path) -> str:
    real = os.environ.get("RBEE_TEST_LLAMA_SERVER", "")
    if program == "lone":
        return str(shutil.copy(real, folder / "llama-server"))
    if program == "true":
        return shutil.which("true") or ""
    return real


def _model(case: Case, folder: Path, model: Path) -> Path:
    if case.model == "folder":
        return folder
    path = folder / "model.gguf"
    if case.model == "loop":
        path.symlink_to(path)
    if case.damage:
        path.write_bytes(DAMAGES[case.damage](model.read_bytes()))
    return path if case.damage or case.model else model


def _bound(address_space_mib: int) -> Callable[[], None] | None:
    if not address_space_mib:
        return None
    limit = address_space_mib << 20
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _record() -> None:
    model = model_path()
    blocks = [
        "# Written by `python -m tests.recorded_deaths`; each was brought about on the engine.\n"
    ]
    builds = {
        "llama-cpp": describe.built_in_build(),
        "llama-server": describe.binary_build(os.environ["RBEE_TEST_LLAMA_SERVER"]),
    }
    for case in CASES:
        for engine in case.engines:
            with tempfile.TemporaryDirectory() as name:
                returncode, lines = bring_about(case, engine, Path(name), model)
                plain = [_plain(line, name, model) for line in lines[-KEPT_LINES:]]
            death = classify(returncode, tuple(plain))
            if death.code != case.code:
                print(f"{case.name} on {engine}: {death}", file=sys.stderr)
            blocks.append(_toml(case, engine, builds[engine], death.cause, returncode, plain))
    FIXTURE.parent.mkdir(exist_ok=True)
    FIXTURE.write_text("\n".join(blocks), encoding="utf-8")


def _plain(line: str, folder: str, model: Path) -> str:
    """Without the folders of the machine it was recorded on."""
    line = line.replace(folder, "/models").replace(str(model.parent), "/models")
    return re.sub(r"/[\w./-]*?/(?=llama\.cpp/)|/[\w./-]+/(?=llama-server:)", "/build/", line)


def _toml(
    case: Case, engine: str, build: str, cause: str, returncode: int, lines: list[str]
) -> str:
    texts = [
        f"name = {_text(case.name)}",
        f"engine = {_text(engine)}",
        f"build = {_text(build)}",
        f"how = {_text(case.how)}",
        f"row = {_text(case.row)}",
        f"code = {_text(case.code)}",
        f"cause = {_text(cause)}",
        f"returncode = {returncode}",
        "lines = [",
        *(f"    {_text(line)}," for line in lines),
        "]",
    ]
    return "[[death]]\n" + "\n".join(texts) + "\n"


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    _record()
