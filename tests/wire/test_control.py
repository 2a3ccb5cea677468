"""Promises of what queen and hive say to one another."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from rbee.wire import control

DEVICE = control.Device(id="cpu", name="a processor", memory_bytes=1 << 34)
ENGINE = control.EngineView(kind="llama-cpp", build="b1", devices=(DEVICE,))
PROBLEM = control.Problem(code="WORKER_KILLED", message="killed", details={"worker": "w1"})
WISH = control.ModelWish(name="tiny", ref="file:///m.gguf", args=("--flash-attn", "on"))
WORKER = control.WorkerView(
    id="w1", hive="h", model="tiny", ref="r", mode="chat", state="READY", problem=PROBLEM
)
MODEL = control.ModelView(
    name="tiny", ref="r", size_bytes=9, digest="sha256:0", source="s", added_at=1.5
)
FROM_HIVE = [
    control.Hello("0.1", 1, "h", 4, "box", 2, 1 << 34, ENGINE, (DEVICE,), (WORKER,), (MODEL,)),
    control.WorkerChanged(WORKER),
    control.WorkerGone("w1", "tiny", "chat", PROBLEM),
    control.ModelsChanged((MODEL,)),
    control.EngineChanged(ENGINE, (DEVICE,)),
    control.Unservable("tiny", "chat", PROBLEM),
    control.Progress("c1", "fetching", 1, 2),
    control.Happened(1.5, "WORKER_KILLED", "what", "done", "ok", worker="w1"),
    control.Done("c1", {"any": ["thing", 1]}),
    control.Failed("c1", PROBLEM),
    control.Pong(),
]
TO_HIVE = [
    control.Welcome("0.1", (WISH,)),
    control.Refused(PROBLEM),
    control.Want(WISH, fresh=True),
    control.Unwant("tiny", "embedding"),
    control.Busy("w1", 3),
    control.Suspect("w1", PROBLEM),
    control.StopWorker("c1", "w1"),
    control.DrainWorker("c1", "w1"),
    control.Pull("c1", "smollm2:135m"),
    control.Remove("c1", "smollm2:135m"),
    control.Verify("c1", "smollm2:135m"),
    control.TakeStock("c1"),
    control.Pin("c1", "smollm2:135m", pinned=True),
    control.Prune("c1", 1 << 30, remove=True, declared=("tiny",)),
    control.Import("c1", "ollama"),
    control.Outdated("c1"),
    control.Logs("c1", "w1", 5),
    control.CancelCall("c1"),
    control.Ping(),
    control.Leave(2.5),
]


def kinds(messages):
    return {type(message) for message in messages}


def test_every_message_is_proved_here():
    """A new message joins these lists."""
    assert kinds(FROM_HIVE) == set(get_args(control.FromHive))
    assert kinds(TO_HIVE) == set(get_args(control.ToHive))


@pytest.mark.parametrize("message", FROM_HIVE, ids=lambda message: type(message).__name__)
def test_what_a_hive_says_arrives_as_it_was(message):
    """One line, and the same value on the other side."""
    line = control.encode(message)

    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert control.decode_from_hive(line) == message


@pytest.mark.parametrize("message", TO_HIVE, ids=lambda message: type(message).__name__)
def test_what_the_queen_says_arrives_as_it_was(message):
    """One line, and the same value on the other side."""
    line = control.encode(message)

    assert line.count(b"\n") == 1
    assert control.decode_to_hive(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"type": "no_such"}',
        b'{"type": "busy", "worker": "w1"}',
        b'{"type": "busy", "worker": 1, "count": 2}',
        b'{"type": "pong"',
    ],
)
def test_anything_else_is_refused(line):
    """Garbage and half a message raise DecodeError, in both directions."""
    with pytest.raises(msgspec.DecodeError):
        control.decode_from_hive(line)
    with pytest.raises(msgspec.DecodeError):
        control.decode_to_hive(line)


def test_a_side_does_not_take_its_own_words():
    """A hive cannot be commanded by a hive."""
    with pytest.raises(msgspec.DecodeError):
        control.decode_to_hive(control.encode(control.WorkerChanged(WORKER)))
    with pytest.raises(msgspec.DecodeError):
        control.decode_from_hive(control.encode(control.Leave(1.0)))


def test_fields_of_a_newer_peer_are_passed_over():
    """A newer peer may say more; versions are compared before anything is done."""
    line = b'{"type": "busy", "worker": "w1", "count": 2, "mood": "fine"}'

    assert control.decode_to_hive(line) == control.Busy("w1", 2)


def test_equal_wishes_are_the_same_wish():
    """What is wanted already is not wanted anew."""
    again = control.decode_to_hive(control.encode(control.Want(WISH)))

    assert isinstance(again, control.Want)
    assert again.wish == WISH
    assert hash(again.wish) == hash(WISH)
