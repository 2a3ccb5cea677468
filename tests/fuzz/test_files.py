"""Files of a home that a disk, a crash or a person has damaged: told with a code, or put aside."""

from __future__ import annotations

import asyncio
import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.edge.config_file import load_config
from rbee.edge.dial_file import DialFile
from rbee.edge.home import Home
from rbee.edge.journal import Journal
from rbee.edge.kept_wishes import read_wishes
from rbee.edge.key_file import KeyFile
from rbee.errors import RbeeError
from rbee.models.gguf import Facts
from rbee.models.manifest import SCHEMA, Manifest, Piece, decode, shape_of
from rbee.policy.dial_breaker import CLEAR
from rbee.policy.keys import judge, state
from rbee.queen.events import Events
from rbee.wire.attached import Attachment
from rbee.wire.config import LIMIT_KEYS, MODEL_KEYS, TOP_KEYS
from rbee.wire.control import Happened, ModelWish
from rbee.wire.keys import KeyAsk, shown
from rbee.wire.unreadable import UNREADABLE
from tests.fuzz.odd import VALUES, damaged, tries
from tests.fuzz.test_engine_answers import with_odd

WISHES = msgspec.json.encode([ModelWish(name="tiny", ref="r"), ModelWish(name="b", ref="c")])
ATTACHED = msgspec.json.encode(
    [Attachment("a1", "h", 1, "/v1", False, "tiny", "theirs", 1.0, "KEY", "", 4096, 2)]
)
DIALS = b'{"http://a": [3, 17.5], "http://b": [0, 0.0]}'
HAPPENED = msgspec.json.encode(Happened(1.0, "WORKER_KILLED", "what", "done", "ok")) + b"\n"

MANIFEST = msgspec.json.encode(
    Manifest(
        schema=SCHEMA,
        name="a",
        ref="r",
        sources=("s",),
        digest="sha256:0",
        digest_known=True,
        size_bytes=1,
        added_at=1.0,
        files=(Piece("sha256:0", 1, {"inode": 1}, (7,)),),
        facts=Facts(3, "llama", "x", 1, "Q4_1", 2048, 8, 1),
    )
)


def odd_of(whole: bytes) -> st.SearchStrategy[bytes]:
    """The file with wrong bytes, or the same shape with wrong values."""
    value = msgspec.json.decode(whole)
    odd = st.lists(st.tuples(st.integers(0, 1000), VALUES), min_size=1, max_size=2)
    changed = odd.map(lambda odd: msgspec.json.encode(with_odd([value], odd)[0]))
    return changed | damaged(whole) | st.binary(max_size=40)


def made_keys(folder: Path) -> bytes:
    """A real file of keys."""
    path = folder / "made.json"
    KeyFile(path).create(KeyAsk(name="laptop", rpm=5), 1.0)
    return path.read_bytes()


def test_keys(tmp_path: Path) -> None:
    """KEYS_DAMAGED, or keys that can be judged and shown whatever stands in them."""
    path = tmp_path / "keys.json"

    @tries(50)
    @given(data=odd_of(made_keys(tmp_path)))
    def story(data: bytes) -> None:
        path.write_bytes(data)
        keys = KeyFile(path)
        try:
            keys.load()
        except RbeeError as error:
            assert error.code == "KEYS_DAMAGED"
            return
        for record in keys.records.values():
            msgspec.json.encode(shown(record, state(record, 2.0)))
            judge(f"rb_{record.id}_x", keys.records, now=2.0)

    story()


@pytest.mark.parametrize(
    ("whole", "kind"), [(WISHES, list[ModelWish]), (ATTACHED, list[Attachment])]
)
def test_wishes(tmp_path: Path, whole: bytes, kind: Any) -> None:
    """What cannot be read stands aside, byte for byte, and is told."""
    path, aside = tmp_path / "wishes.json", tmp_path / "wishes.json.damaged"

    @tries(100)
    @given(data=odd_of(whole))
    def story(data: bytes) -> None:
        aside.unlink(missing_ok=True)
        path.write_bytes(data)
        found, error = read_wishes(path, kind)
        if error is None:
            msgspec.json.encode(found)
        else:
            assert error.code == "WISHES_DAMAGED" and not found
            assert aside.read_bytes() == data

    story()


def test_what_is_known_of_addresses(tmp_path: Path) -> None:
    """It is read, or nothing is known; it can be written again."""
    home = Home(tmp_path)
    home.prepare()
    dials = DialFile(home)

    @tries(100)
    @given(data=odd_of(DIALS))
    def story(data: bytes) -> None:
        (home.state / "dial.json").write_bytes(data)
        dials.change("http://a", lambda line: (None, line))
        dials.change("http://a", lambda line: (None, CLEAR))

    story()


def test_the_log_of_faults(tmp_path: Path) -> None:
    """Lines that cannot be read are passed over, and the others are told."""
    path = tmp_path / "events.jsonl"

    @tries(200)
    @given(data=damaged(HAPPENED * 3))
    def story(data: bytes) -> None:
        path.write_bytes(data + b"\n" + HAPPENED)
        events = Events(path)
        events.load()
        assert events.recent()[-1].code == "WORKER_KILLED"
        events.close()

    story()


def test_manifests() -> None:
    """A manifest, or what `wire.unreadable` names."""

    @tries(50)
    @given(data=odd_of(MANIFEST))
    def story(data: bytes) -> None:
        shape_of(data)
        with suppress(*UNREADABLE):
            assert isinstance(decode(data), Manifest)

    story()


TOML = b"""
listen = "127.0.0.1:7833"
origins = ["loopback"]
[defaults]
ctx = 4096
keep_alive = "5m"
[limits]
queue = 100
stall = "60s"
[models.tiny]
source = "smollm2:135m"
aliases = ["gpt-4o-mini"]
params = { temperature = 0.5 }
"""
KEYS = [
    *(f"{name} = " for name in TOP_KEYS),
    *(f"[limits]\n{name} = " for name in LIMIT_KEYS),
    *(f"[models.x]\n{name} = " for name in MODEL_KEYS),
    *(f"[defaults]\n{name} = " for name in MODEL_KEYS),
]
LITERALS = st.sampled_from(
    [
        *(
            "1",
            "-1",
            "0",
            "1.5",
            "nan",
            "inf",
            "true",
            '""',
            '"x"',
            '"\\u0000"',
            "[]",
            "{}",
            "[[]]",
        ),
        *('["a", 1]', "1979-05-27", "99999999999999999999999", '"1e999s"', '"-5m"', "{a={b=1}}"),
        *('"auto"', '"always"', '"9" ', '"::1"', '"[::1]:99999"', '"nan"', '"1_000"', '"٣s"'),
    ]
)


def load(home: Home, data: bytes) -> None:
    """The settings, or CONFIG_INVALID that names where."""
    home.config.write_bytes(data)
    try:
        load_config(home)
    except RbeeError as error:
        assert error.code == "CONFIG_INVALID", error
        assert error.facts["where"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in [name for name in os.environ if name.startswith("RBEE_")]:
        monkeypatch.delenv(name)
    found = Home(tmp_path)
    found.prepare()
    return found


def test_a_damaged_configuration(home: Home) -> None:
    """Any bytes: settings, or CONFIG_INVALID."""

    @tries(50)
    @given(data=damaged(TOML) | st.binary(max_size=60))
    def story(data: bytes) -> None:
        load(home, data)

    story()


@pytest.mark.parametrize("key", KEYS)
def test_each_key_with_any_value(home: Home, key: str) -> None:
    """Wrong types and sizes of every key."""

    @tries(1000)
    @given(literal=LITERALS)
    def story(literal: str) -> None:
        load(home, (key + literal + "\n").encode())

    story()


@pytest.mark.parametrize(
    "data",
    [
        b"x = " + b"[" * 100_000,
        b"a" + b".a" * 50_000 + b" = 1",
        b"x = " + b"{a=" * 20_000,
        b"[" * 5000,
        b"#" * (5 << 20),
        b"x = 1" + b"0" * 5000,
        b"limits = 5",
        b"models = []",
        b"[models]\ntiny = 5",
        b"[[models.tiny]]\nctx = 1",
    ],
    ids=lambda data: data[:12].decode(),
)
def test_deep_and_huge_configurations(home: Home, data: bytes) -> None:
    """No depth and no size is more than CONFIG_INVALID."""
    load(home, data)
    with pytest.raises(RbeeError):
        load_config(home)


def test_the_sample_is_sound(home: Home) -> None:
    """What is damaged here was whole before."""
    tomllib.loads(TOML.decode())
    home.config.write_bytes(TOML)
    load_config(home)
    assert isinstance(decode(MANIFEST), Manifest)


def made_journal(folder: Path) -> bytes:
    """A real journal of two jobs, one of them ended."""

    async def write() -> None:
        journal = Journal(folder / "made.sqlite")
        await journal.open()
        first = journal.create(b'{"id": "job_1"}', lambda error: None)
        journal.create(b'{"id": "job_2"}', lambda error: None)
        journal.end(first, b"{}", lambda error: None)
        await journal.close()

    asyncio.run(write())
    return (folder / "made.sqlite").read_bytes()


def test_the_journal_of_jobs(tmp_path: Path) -> None:
    """Its jobs are read, or it is put aside and said; a job can be written after that."""
    path = tmp_path / "jobs.sqlite"

    async def read() -> None:
        journal = Journal(path)
        told: list[RbeeError | None] = []
        opening = await journal.open()
        assert opening.problem is None, opening.problem
        journal.create(b"{}", told.append)
        await journal.close()
        assert told == [None]

    @tries(500)
    @given(data=damaged(made_journal(tmp_path)) | st.binary(max_size=200))
    def story(data: bytes) -> None:
        for one in tmp_path.glob("jobs.sqlite*"):
            one.unlink()
        path.write_bytes(data)
        asyncio.run(read())

    story()
