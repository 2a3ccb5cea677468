"""Promises of `policy.crashes`, on what real engines left behind when they died."""

from __future__ import annotations

import pytest

from rbee.errors.catalogue import CATALOGUE
from rbee.policy import crashes
from rbee.policy.engine_messages import ROWS
from rbee.policy.gpu_messages import GPU_HINTS, GPU_ROWS
from tests.recorded_deaths import CASES, Recorded, recorded

RECORDED = recorded()


@pytest.mark.parametrize("death", RECORDED, ids=lambda death: f"{death.name}-{death.engine}")
def test_a_recorded_death_is_told_by_its_cause(death: Recorded) -> None:
    """What an engine left behind gives the code and the sentence written beside it."""
    told = death.death()
    assert (told.code, told.cause) == (death.code, death.cause)


@pytest.mark.parametrize("death", RECORDED, ids=lambda death: f"{death.name}-{death.engine}")
def test_the_engines_empty_last_word_is_never_reported(death: Recorded) -> None:
    """Nobody reads "Failed to init server, please check the input params" as the cause."""
    report = death.death().error().report
    assert "Failed to init server" not in report.message
    assert "Failed to init server" not in str(dict(report.details))


@pytest.mark.parametrize("death", RECORDED, ids=lambda death: f"{death.name}-{death.engine}")
def test_no_folder_leaks(death: Recorded) -> None:
    """Neither message nor facts name a folder of the machine."""
    report = death.death().error().report
    assert "/models" not in report.message + str(dict(report.details))
    assert "/build" not in report.message + str(dict(report.details))


@pytest.mark.parametrize(
    ("log_tail", "oom_kills", "code"),
    [
        (["I slot print_timing: id 0"], 0, "WORKER_KILLED"),
        ([], 1, "WORKER_OUT_OF_MEMORY"),
        (["/build/ggml.c:7: GGML_ASSERT(n > 0) failed"], 0, "WORKER_CRASHED"),
    ],
)
def test_an_end_that_nobody_saw_is_no_crash_unless_something_says_so(
    log_tail: list[str], oom_kills: int, code: str
) -> None:
    """The exit of a worker that a killed hive had started is not to be had: neither the worker nor
    its request is blamed for it."""
    death = crashes.classify(
        returncode=None,
        signal=None,
        log_tail=log_tail,
        oom_kills=oom_kills,
        asked=False,
        model="m",
        worker="w1",
    )
    assert death.code == code
    assert "None" not in str(death.error())


def test_every_row_was_seen() -> None:
    """No row of the table is made up: each tells a recorded death, here."""
    told = {_row_of(death) for death in RECORDED} - {""}
    read = {row.name for row in (*GPU_ROWS, *GPU_HINTS)}
    assert {row.name for row in ROWS} - told == read


def test_every_recorded_death_says_how_it_was_brought_about() -> None:
    """Build and way stand beside the lines, so that anybody can see it again."""
    ways = {case.name: case.how for case in CASES}
    for death in RECORDED:
        assert death.build and death.how and death.how == ways[death.name], death.name


def test_every_case_is_recorded() -> None:
    """Whoever adds a case records it: on each of its engines."""
    wanted = {(case.name, engine) for case in CASES for engine in case.engines}
    assert {(death.name, death.engine) for death in RECORDED} == wanted


def _row_of(death: Recorded) -> str:
    for row in ROWS:
        if any(row.pattern.search(line) for line in death.lines):
            return row.name
    return ""


@pytest.mark.parametrize("death", RECORDED, ids=lambda death: f"{death.name}-{death.engine}")
def test_the_row_that_tells_is_the_one_recorded(death: Recorded) -> None:
    """Precedence between rows is what it was when the death was recorded."""
    assert _row_of(death) == death.row


def _classify(
    *,
    returncode: int | None = None,
    signal: int | None = None,
    log_tail: tuple[str, ...] = (),
    oom_kills: int = 0,
    asked: bool = False,
) -> crashes.Death:
    return crashes.classify(
        returncode=returncode,
        signal=signal,
        log_tail=log_tail,
        oom_kills=oom_kills,
        asked=asked,
        model="m",
        worker="w",
    )


def test_an_exit_that_was_asked_for_is_no_failure() -> None:
    """Neither by code nor by signal."""
    assert _classify(returncode=0, asked=True).code == ""
    assert _classify(signal=9, asked=True).code == ""


def test_code_0_without_being_asked_is_a_failure() -> None:
    """An engine that ends cleanly by itself has failed those who wait for it."""
    death = _classify(returncode=0)
    assert death.code == "WORKER_CRASHED"
    assert "nobody asked" in death.cause


def test_sigkill_is_out_of_memory_only_if_the_kernel_counted_it() -> None:
    """The same signal is somebody's kill, or the kernel's, by its own counter."""
    assert _classify(signal=9, oom_kills=1).code == "WORKER_OUT_OF_MEMORY"
    assert _classify(signal=9).code == "WORKER_KILLED"


def test_an_old_message_in_the_log_does_not_explain_a_kill() -> None:
    """A warning from the load hours ago is not why a worker was killed now."""
    old = (
        "0.00.305.210 E ggml_aligned_malloc: insufficient memory (attempted to allocate 1.0 MB)",
    )
    assert _classify(signal=9, log_tail=old).code == "WORKER_KILLED"


@pytest.mark.parametrize(
    ("signal", "word"), [(4, "SIGILL"), (6, "SIGABRT"), (7, "SIGBUS"), (11, "SIGSEGV")]
)
def test_a_signal_is_named(signal: int, word: str) -> None:
    """The cause names the signal and what it means."""
    assert word in _classify(signal=signal).cause


def test_an_unknown_signal_keeps_its_number() -> None:
    """What the table does not know is still told."""
    assert "signal 35" in _classify(signal=35).cause


def test_an_unknown_log_gives_its_last_error() -> None:
    """The last line that tells of an error, not the empty words after it; without time and path."""
    log = (
        "0.00.001.000 I srv  init: loading model",
        "0.00.002.000 E ggml_gizmo: the gizmo of '/secret/place/m.gguf' is bent",
        "0.00.002.100 E srv    load_model: failed to load model, '/secret/place/m.gguf'",
        "rbee worker: Failed to init server, please check the input params.",
    )
    death = _classify(returncode=1, log_tail=log)
    assert death.code == "WORKER_CRASHED"
    assert death.line == "ggml_gizmo: the gizmo of 'm.gguf' is bent"
    assert death.line in death.cause


def test_a_silent_death_still_has_a_cause() -> None:
    """No log at all: the exit code is what is left."""
    assert _classify(returncode=3).cause == "exit code 3"


def test_a_line_is_bounded() -> None:
    """A log line of a megabyte does not become a message of a megabyte."""
    assert len(_classify(returncode=1, log_tail=("error: " + "x" * 1_000_000,)).line) == 300


def test_every_code_of_the_table_is_in_the_catalogue() -> None:
    """And the facts that a death brings are those that the code's row wants."""
    for row in ROWS:
        assert row.code in CATALOGUE, row.name
