"""The log of acts holds what was done, no secret, and shows what was changed in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.wire.audit import Act, broken_at, line_of, read_acts, said_of


def log(count: int) -> list[bytes]:
    """So many lines, each after the other."""
    lines: list[bytes] = []
    for number in range(count):
        act = Act(float(number), "root", "serve", f"model=m{number}", "ok")
        lines.append(line_of(act, lines[-1] if lines else b"").rstrip(b"\n"))
    return lines


@given(st.integers(0, 12), st.integers(0, 12))
def test_a_log_is_whole_from_any_line_on(count: int, turned_over: int) -> None:
    """What was turned over is not missed."""
    assert broken_at(log(count)[turned_over:]) is None


@given(st.data(), st.integers(2, 12))
def test_a_line_changed_or_taken_out_shows(data: st.DataObject, count: int) -> None:
    """But for the first one taken away, which is what turning over does, and for the very last one,
    which nothing follows."""
    lines = log(count)
    at = data.draw(st.integers(0, count - 2))
    if data.draw(st.booleans()) and at > 0:
        del lines[at]
        assert broken_at(lines) == at + 1
    else:
        lines[at] = lines[at].replace(b'"who":"root"', b'"who":"anna"')
        assert broken_at(lines) == at + 2


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_rubbish_is_passed_over_and_shows(lines: list[bytes]) -> None:
    """It is read as nothing, and told as broken."""
    assert read_acts(lines) == []
    assert broken_at(lines) == (1 if lines else None)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"model": "tiny", "replicas": 2}, "model=tiny replicas=2"),
        ({"name": "https://me:secret@host/x.gguf?token=secret#secret"}, "name=https://host/x.gguf"),
        ({"url": "http://[bad", "key": "secret"}, 'url="an address that is none"'),
        ({"key_env": "secret", "key_file": "secret", "all": True}, "all=True"),
        ({"roles": ["infer", "admin"]}, "roles=infer,admin"),
        ({"name": "a\x1b[2Jb\nc"}, "name=a�[2Jb�c"),
        ({"name": "x" * 999}, "name=" + "x" * 200),
        ({}, ""),
    ],
)
def test_what_was_meant_is_told_without_secrets(asked: dict[str, object], told: str) -> None:
    """Names, numbers and addresses; no password, no token, no control character."""
    assert said_of(asked) == told
