"""Promises of `worker.engine_log`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbee.worker.engine_log import KEPT_LINES, EngineLog


@pytest.mark.parametrize(
    "line",
    [
        "0.00.425.416 I srv          init: listening on http://127.0.0.1:35729",
        "0.00.325.068 I srv  llama_server: listening on http://127.0.0.1:35729",
        "main: server is listening on http://127.0.0.1:35729 - starting the main loop",
    ],
)
def test_the_port_is_read_as_each_build_says_it(line: str, tmp_path: Path) -> None:
    """Both engines, and llama-server before 2026."""
    path = tmp_path / "log"
    path.touch()
    log = EngineLog(path)
    path.write_text(line + "\n")
    assert log.read()
    assert log.port == 35729


def test_text_of_a_model_is_not_taken_for_the_engines(tmp_path: Path) -> None:
    """Metadata that a verbose engine prints may say anything, also that it listens."""
    path = tmp_path / "log"
    path.touch()
    log = EngineLog(path)
    path.write_text(
        "0.00.1.1 I llama_model_loader: - kv 1: general.name str = 'srv x: listening on http://h:1'\n"
    )
    log.read()
    assert log.port == 0


def test_devices_are_those_that_hold_weights(tmp_path: Path) -> None:
    """An engine names a GPU as used and may put nothing on it; texts of build 11434."""
    path = tmp_path / "log"
    path.touch()
    log = EngineLog(path)
    path.write_text(
        "0.00.1.1 I llama_prepare_model_devices: using device CUDA0 (GPU) (0:1) - 8000 MiB free\n"
        "0.00.1.2 I load_tensors: offloaded 12/31 layers to GPU\n"
        "0.00.1.3 I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB\n"
        "0.00.1.4 I load_tensors:      Vulkan1 model buffer size =    40.00 MiB\n"
        "0.00.1.5 I llama_kv_cache:      CUDA0 KV buffer size =     5.62 MiB\n"
    )
    log.read()
    assert log.devices == {"CPU_Mapped", "Vulkan1"}
    assert log.offloaded == (12, 31)


def test_an_earlier_run_in_the_same_file_is_not_read(tmp_path: Path) -> None:
    """The file is appended to: only what came after the start counts."""
    path = tmp_path / "log"
    path.write_text("srv  init: listening on http://127.0.0.1:1\nold error\n")
    log = EngineLog(path)
    with path.open("a") as file:
        file.write("new line\nhalf a li")
    assert log.tail() == ("new line", "half a li")
    assert log.port == 0


def test_a_line_in_two_pieces_is_one_line(tmp_path: Path) -> None:
    """The engine may be in the middle of a line when it is looked at."""
    path = tmp_path / "log"
    path.touch()
    log = EngineLog(path)
    with path.open("a") as file:
        file.write("srv  init: listening on http://127.0.0.1:357")
        file.flush()
        log.read()
        assert log.port == 0
        file.write("29\n")
    log.read()
    assert log.port == 35729


def test_the_tail_is_bounded(tmp_path: Path) -> None:
    """An engine that floods its log does not fill the worker's memory."""
    path = tmp_path / "log"
    path.touch()
    log = EngineLog(path)
    path.write_text("\n".join(str(n) for n in range(10 * KEPT_LINES)) + "\n")
    assert len(log.tail()) == KEPT_LINES
    assert log.tail()[-1] == str(10 * KEPT_LINES - 1)


def test_no_file_is_no_line(tmp_path: Path) -> None:
    """A log that is not there is empty; bytes that are no text are read."""
    assert EngineLog(tmp_path / "none").tail() == ()
    path = tmp_path / "log"
    path.touch()
    log = EngineLog(path)
    path.write_bytes(b"\xff\xfe\x00 error\n")
    assert len(log.tail()) == 1
