"""The file of events: bounded, and readable after whatever befell its disk."""

from __future__ import annotations

import json
from pathlib import Path

from rbee.edge.events_file import append_line, read_tail
from tests.small_disk import small_disk

LIMIT_BYTES = 1 << 20


def line(number: int, size_bytes: int = 10) -> bytes:
    return json.dumps({"number": number, "what": "x" * size_bytes}).encode() + b"\n"


def numbers(path: Path) -> list[int]:
    """Of the lines that can be read."""
    found = []
    for one in read_tail(path, 100):
        try:
            found.append(json.loads(one)["number"])
        except ValueError:
            continue
    return found


def test_it_is_turned_over_once(tmp_path: Path) -> None:
    """Beyond its limit a new one begins, and the one before is kept."""
    path = tmp_path / "events.jsonl"
    for number in range(5):
        append_line(path, line(number), 3 * len(line(0)))
    assert numbers(path) == [3, 4]
    assert numbers(tmp_path / "events.jsonl.1") == [0, 1, 2]


def test_a_line_that_was_torn_takes_no_other_with_it(tmp_path: Path) -> None:
    """What a lost machine left of a line stands alone."""
    path = tmp_path / "events.jsonl"
    append_line(path, line(1), LIMIT_BYTES)
    path.write_bytes(path.read_bytes() + line(2)[:8])
    append_line(path, line(3), LIMIT_BYTES)
    assert numbers(path) == [1, 3]


def test_a_disk_that_was_full_loses_what_it_did_not_take_and_no_more(tmp_path: Path) -> None:
    """The first event after there is room again can be read."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "events.jsonl"
        append_line(path, line(1), LIMIT_BYTES)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        append_line(path, line(2, 9000), LIMIT_BYTES)
        assert path.read_bytes()[-1:] != b"\n", "the disk took all of it"
        filler.unlink()
        append_line(path, line(3), LIMIT_BYTES)
        assert numbers(path) == [1, 3]
