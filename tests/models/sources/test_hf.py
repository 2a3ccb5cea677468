"""Hugging Face: which files a name means there, and what its refusals mean."""

import json
import os
import subprocess
import sys
import time
import urllib.parse

import pytest

from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models.names import parse
from rbee.models.sources import hf
from rbee.settings import Timing
from tests.file_server import cut, file_server, first, status
from tests.models.sources.conftest import fetched
from tests.models.sources.hub import COMMIT, REPO, digest, hold, listing, refusing
from tests.models.sources.test_hf_choice import TWO_QUANTS

FILES = {path: path.encode() * 10 for path in TWO_QUANTS}
KEY = "hf_" + "x" * 20


@pytest.fixture(autouse=True)
def hub(server, monkeypatch):
    """A hub of our own, which the environment names."""
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    hold(server, FILES)
    return server


def resolve(web, rest=""):
    return hf.resolve(parse(f"hf:{REPO}{rest}"), web)


def refused(web, rest="") -> RbeeError:
    with pytest.raises(RbeeError) as caught:
        resolve(web, rest)
    return caught.value


def test_a_quantisation_by_its_name(web):
    """Its file at the commit that was found, with digest and size."""
    found = resolve(web, ":q8_0")

    (remote,) = found.files
    data = FILES["tiny.Q8_0.gguf"]
    assert (remote.digest, remote.size_bytes) == ("sha256:" + digest(data), len(data))
    assert (found.source, found.revision) == (f"hf:{REPO}:Q8_0", COMMIT)
    assert COMMIT in remote.url and fetched(web, remote) == data


def test_a_model_in_several_files_comes_in_order(hub, web):
    """Each part keeps its name, which the engine looks for; a projector is no part."""
    parts = {f"Q4_K_M/big-Q4_K_M-0000{n}-of-00003.gguf": b"%d" % n for n in (3, 1, 2)}
    hold(hub, {"mmproj-F16.gguf": b"p", **parts, "x y.gguf": b"z"})

    found = resolve(web, ":Q4_K_M")

    assert [remote.name for remote in found.files] == [
        f"big-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3)
    ]
    assert [fetched(web, remote) for remote in found.files] == [b"1", b"2", b"3"]
    assert fetched(web, resolve(web, ":x y.gguf").files[0]) == b"z"


def test_a_small_file_has_no_digest(hub, web):
    """What lies in git itself is told with its size alone."""
    told = listing({"a.gguf": b"x"})
    for one in told["siblings"]:
        one.pop("lfs", None)
    hub.files[f"/api/models/{REPO}"] = json.dumps(told).encode()

    (remote,) = resolve(web).files

    assert (remote.size_bytes, remote.digest) == (1, "")


def test_a_revision_is_asked_for_by_its_name(hub, web):
    """A branch, a tag, or a pull request's; whichever, the commit is what counts."""
    for revision in ("v1", "refs/pr/1"):
        hold(hub, {"old.gguf": b"old"}, urllib.parse.quote(revision, safe=""))

        found = resolve(web, f"@{revision}")

        assert (found.files[0].name, found.revision) == ("old.gguf", COMMIT)


def test_a_name_that_means_nothing_is_answered_with_what_is_there(web):
    """A file, a quantisation, a revision."""
    for rest, word in [(":tiny.Q8_1.gguf", "tiny.Q8_0.gguf"), (":Q8_1", "Q8_0"), (":X", "Q4_K_M")]:
        error = refused(web, rest)

        assert (error.code, word in error.report.message) == ("SOURCE_NOT_FOUND", True)


def test_the_key_of_the_environment_is_sent(hub, monkeypatch, web):
    """With the question and with the file."""
    monkeypatch.setenv("HF_TOKEN", KEY)

    (remote,) = resolve(web).files
    fetched(web, remote)

    assert {one.headers.get("authorization") for one in hub.asked} == {f"Bearer {KEY}"}


def test_without_a_key_none_is_sent(hub, web):
    """No empty header either."""
    assert not resolve(web).files[0].headers
    assert "authorization" not in hub.asked[0].headers


def test_the_key_of_a_login_is_sent(hub, tmp_path):
    """`hf auth login` keeps it in a file."""
    (tmp_path / "token").write_text(KEY + "\n")
    code = (
        "from rbee.edge.web import Web; from rbee.settings import Timing\n"
        "from rbee.models.sources.resolving import resolve\n"
        f"print(resolve('hf:{REPO}', Web('x', Timing())).files[0].headers['authorization'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )

    assert ended.stdout.strip() == f"Bearer {KEY}"


def test_the_key_stays_with_the_hub(hub, monkeypatch, web):
    """The bytes lie at another host, which never sees it."""
    monkeypatch.setenv("HF_TOKEN", KEY)
    with file_server() as store:
        store.files["/blob"] = b"bytes"

        def elsewhere(asked, answer):
            if "/resolve/" in asked.path:
                answer.status, answer.headers["location"] = 302, store.url + "/blob"

        hub.faults.append(elsewhere)

        assert fetched(web, resolve(web).files[0]) == b"bytes"
        assert "authorization" not in store.asked[0].headers


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (refusing(403, x_error_code="GatedRepo"), "SOURCE_FORBIDDEN", "ask for access"),
        (refusing(401, x_error_code="GatedRepo"), "SOURCE_FORBIDDEN", "HF_TOKEN"),
        (refusing(404, x_error_code="RepoNotFound"), "SOURCE_NOT_FOUND", REPO),
        (refusing(404, x_error_code="RevisionNotFound"), "SOURCE_NOT_FOUND", "branch v9"),
        (
            refusing(403, x_error_message="Access to this resource is disabled."),
            "SOURCE_FORBIDDEN",
            "disabled",
        ),
        (refusing(401), "SOURCE_FORBIDDEN", "401"),
        (refusing(404), "SOURCE_NOT_FOUND", "404"),
        (refusing(429), "SOURCE_RATE_LIMITED", "429"),
        (refusing(500), "SOURCE_BROKEN", "500"),
        (cut(10), "SOURCE_UNREACHABLE", ""),
    ],
)
def test_refusals_are_told_apart(hub, web, fault, code, words):
    """Gated, missing, closed, too often asked, or broken: each has its own way out."""
    hub.faults.append(fault)

    error = refused(web, "@v9")

    assert (error.code, words in error.report.message) == (code, True)


@pytest.mark.parametrize("number", [401, 403])
@pytest.mark.parametrize("key", ["", KEY])
def test_a_gated_repository_is_seen_and_not_given(hub, monkeypatch, web, number, key):
    """Its list is open to all: only a file tells that access has to be asked for. The key is not
    told."""
    hold(hub, FILES, gated="manual")
    hub.faults.append(refusing(number, f"/{REPO}", x_error_code="GatedRepo"))
    monkeypatch.setenv("HF_TOKEN", key)

    error = refused(web)

    assert error.code == "SOURCE_FORBIDDEN"
    assert f"/{REPO}" in error.report.message and "ask for access" in error.report.message
    assert ("set HF_TOKEN" in error.report.message) == (not key)
    assert not key or key not in error.report.message


def test_a_gated_repository_that_lets_one_in_is_like_any_other(hub, monkeypatch, web):
    """With the key of somebody who has access."""
    hold(hub, FILES, gated="auto")
    monkeypatch.setenv("HF_TOKEN", KEY)

    assert resolve(web).files[0].name == "tiny.Q4_K_M.gguf"


@pytest.mark.parametrize("fault", [status(500), status(429, retry_after="0"), cut(10)])
def test_what_passes_is_waited_for(hub, web, fault):
    """A burst of failures costs nothing but time."""
    hub.faults.append(first(3, fault))

    assert resolve(web).revision == COMMIT


def test_the_hub_says_how_long_to_wait(hub, web):
    """In a header of its own, as the standard will have it one day."""
    hub.faults.append(first(1, status(429, ratelimit='"api";r=0;t=1')))
    began_at = time.monotonic()

    assert resolve(web).revision == COMMIT
    assert time.monotonic() - began_at >= 1.0


def test_a_silent_hub_is_given_up(hub, monkeypatch):
    """Not waited for for ever."""
    monkeypatch.setattr(hf, "STALL_S", 0.2)
    hub.faults.append(lambda asked, answer: setattr(answer, "hold_after", 0))

    assert refused(Web("tiny", Timing())).code == "DOWNLOAD_STALLED"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "nonsense", "http://", "https://[x"])
def test_a_hub_that_is_not_there_is_told(monkeypatch, web, endpoint):
    """No connection, or an address that is none."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)

    assert refused(web).code in ("SOURCE_UNREACHABLE", "SOURCE_BROKEN")


@pytest.mark.parametrize(
    "told",
    [
        "<html>",
        "[" * 100_000,
        "\udcff",
        [],
        1,
        {"siblings": 1},
        {"id": REPO, "siblings": [{"size": 1}]},
        {"id": REPO, "siblings": [{"rfilename": 1}]},
        {"id": REPO, "siblings": [{"rfilename": "a.gguf", "size": -1}]},
        {"id": REPO, "siblings": [{"rfilename": "a.gguf", "size": "1"}]},
        {"id": REPO, "siblings": [{"rfilename": "a.gguf", "lfs": {"size": 1}}]},
        {
            "id": REPO,
            "siblings": [
                {"rfilename": "a.gguf", "lfs": {"size": 1, "sha256": "../x", "pointerSize": 1}}
            ],
        },
    ],
)
def test_what_is_no_list_of_files_is_told(hub, web, told):
    """Whatever a mirror says, it is an error with a code."""
    body = told if isinstance(told, str) else json.dumps(told)
    hub.files[f"/api/models/{REPO}"] = body.encode(errors="surrogateescape")

    assert refused(web).code == "SOURCE_BROKEN"


def test_a_name_of_a_file_leads_nowhere_else(hub, web):
    """What a repository calls its files becomes no path of another place."""
    evil = {"../../evil.gguf": b"e", "a/../../Q8_0/e.gguf": b"e", "good.Q4_0.gguf": b"g"}
    hold(hub, evil)

    assert resolve(web).files[0].name == "good.Q4_0.gguf"
    assert refused(web, ":Q8_0").code == "SOURCE_NOT_FOUND"
