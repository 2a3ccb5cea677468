"""Files of wishes."""

from pathlib import Path

import pytest

from rbee.edge.kept_wishes import read_wishes
from rbee.errors import RbeeError


def test_wishes_are_read(tmp_path: Path) -> None:
    """As they were written; a file that is not there is none, and no damage."""
    (tmp_path / "w.json").write_bytes(b"[1,2]")
    assert read_wishes(tmp_path / "w.json", list[int]) == ([1, 2], None)
    assert read_wishes(tmp_path / "gone" / "w.json", list[int]) == ([], None)


@pytest.mark.parametrize("content", [b"", b"[1", b"\xff", b'["a"]', b"[" * 100_000])
def test_what_cannot_be_read_is_kept_beside(tmp_path: Path, content: bytes) -> None:
    """The next wish is not written over it, and the reason names the file and no folder."""
    (tmp_path / "w.json").write_bytes(content)
    found, damage = read_wishes(tmp_path / "w.json", list[int])
    assert found == [] and isinstance(damage, RbeeError)
    assert "state/w.json" in str(damage) and str(tmp_path) not in str(damage)
    assert [one.name for one in tmp_path.iterdir()] == ["w.json.damaged"]
    assert (tmp_path / "w.json.damaged").read_bytes() == content
