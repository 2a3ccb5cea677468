"""The way to a running rbee."""

import contextlib

import pytest

from rbee.edge.home import Home
from rbee.edge.unix_socket import listen_unix
from rbee.errors import RbeeError
from rbee.keeper import answer
from rbee.keeper.answer import Answering, Question, Reading
from rbee.keeper.connection import Connection


def test_an_rbee_that_hangs_is_told_and_not_waited_for(home: Home) -> None:
    """The kernel takes the connection of a frozen process, and nobody ever answers it."""
    home.prepare()
    with contextlib.closing(listen_unix(home.admin_socket)):
        with pytest.raises(RbeeError) as caught:
            Connection.of_home(home).get("/rbee/status", within_s=0.2)

    assert caught.value.code == "CONNECTION_LOST"
    assert "did not answer" in caught.value.report.message


def test_nobody_there_is_another_thing(home: Home) -> None:
    """NOT_RUNNING: nothing was sent, and nothing was done."""
    with pytest.raises(RbeeError) as caught:
        Connection.of_home(home).get("/rbee/status")

    assert caught.value.code == "NOT_RUNNING"


def test_an_rbee_that_hangs_in_mid_answer_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is asked about: a long prompt goes on, an rbee that says nothing at all does not."""
    monkeypatch.setattr(answer, "_QUIET_S", 0.2)
    home.prepare()
    asking = Answering(
        Connection.of_home(home),
        Question(model="m", messages=[]),
        Reading("m", on_text=lambda _: None, on_news=lambda _: None),
        on_tick=lambda: None,
        on_unkept=lambda _: None,
        bring_back=lambda error, tries: None,
    )
    with contextlib.closing(listen_unix(home.admin_socket)):
        with pytest.raises(RbeeError) as caught:
            asking.run()

    assert caught.value.code == "CONNECTION_LOST"


def test_a_path_that_is_no_text_is_refused(home: Home) -> None:
    """Linux has file names that no JSON can carry: USAGE, and no mistake of ours."""
    name = b"bad\xff.gguf".decode("utf-8", "surrogateescape")
    with pytest.raises(RbeeError) as caught:
        Connection.of_home(home).post("/rbee/models/pull", {"name": name})

    assert caught.value.code == "USAGE" and "UTF-8" in caught.value.report.message
