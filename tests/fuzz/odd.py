"""What the fuzz is made of: odd values, damaged bytes, and how many of them.

`make test` tries a sample, `make fuzz` ten times as many (RBEE_FUZZ_INPUTS).
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

INPUTS = int(os.environ.get("RBEE_FUZZ_INPUTS", "10000"))


def tries(share: int) -> settings:
    """One input in so many is for this test; what it found before is not kept."""
    return settings(
        max_examples=max(10, INPUTS // share),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, -(2**31), 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30]),
    st.sampled_from([0.5, -0.0, 1e308, -1e308, 5e-324, 1e19]),
    st.text(max_size=6),
    st.sampled_from(["", "\0", "\n", "user", "assistant", "../..", "é🐟", "x" * 5000, "[DONE]"]),
)
"""Of JSON: numbers at every edge, texts that mean something elsewhere."""

VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "arguments", "index"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)

_CHANGES = st.lists(
    st.tuples(
        st.integers(0, 1 << 30),
        st.sampled_from(["flip", "cut", "drop", "insert", "repeat", "zero"]),
        st.binary(min_size=1, max_size=6)
        | st.sampled_from(
            [b"\xff\xfe", b'"', b"[" * 200, b"{", b"\\ud800", b"-", b"1e999", b"9" * 40, b"\n"]
        ),
    ),
    min_size=1,
    max_size=4,
)


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """What a disk, a crash or a stranger makes of these bytes."""
    return _CHANGES.map(lambda changes: _changed(whole, changes))


def _changed(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for anywhere, kind, word in changes:
        at = anywhere % (len(data) + 1)
        if kind == "flip":
            data = data[:at] + bytes(byte ^ word[0] for byte in data[at : at + 1]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[at + len(word) :]
        elif kind == "insert":
            data = data[:at] + word + data[at:]
        elif kind == "repeat":
            data = data[:at] + data[at // 2 :]
        else:
            data = data[:at] + bytes(len(word)) + data[at + len(word) :]
    return data
