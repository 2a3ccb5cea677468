"""A file comes whole and verified, whatever its source does, or there is a coded error."""

import hashlib
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.models.fetch import Fetcher
from rbee.models.sources import Remote
from rbee.policy import fetching
from rbee.settings import Limits, Settings, Timing
from tests.eventually import eventually
from tests.file_server import Answer, Asked, FileServer, cut, file_server, first, status

SIZE_BYTES = (130 << 20) + 12345
DATA = random.Random(7).randbytes(1 << 20) * (SIZE_BYTES >> 20) + b"x" * (SIZE_BYTES & 0xFFFFF)
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
SMALL = DATA[: 3 << 20]
SMALL_DIGEST = "sha256:" + hashlib.sha256(SMALL).hexdigest()
TIMING = Timing(download_stall_s=1.0, download_trickle_s=1.0, download_pause_s=1.0)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """The pauses between tries are those of `policy.fetching`, divided by 20."""
    monkeypatch.setattr(fetching, "FIRST_S", 0.005)


@pytest.fixture
def server():
    with file_server() as found:
        found.files = {"/big": DATA, "/small": SMALL}
        found.etags = {"/big": '"v1"', "/small": '"v1"'}
        yield found


class House:
    """A fetcher with its folder, and what it said."""

    def __init__(self, folder: Path, timing: Timing = TIMING, limits: Limits | None = None) -> None:
        self.partials = folder / "partials"
        self.partials.mkdir(exist_ok=True)
        self.said: list[tuple[str, int, int]] = []
        settings = Settings(
            home=str(folder), timing=timing, limits=limits or Limits(disk_reserve_bytes=0)
        )
        self.troubles: list[tuple[str, str]] = []
        web = Web("tiny", timing)
        self.fetcher = Fetcher(self.partials, settings, self.hear, self.trouble, web)

    def hear(self, phase: str, done_bytes: int, total_bytes: int) -> None:
        self.said.append((phase, done_bytes, total_bytes))

    def trouble(self, error: RbeeError, then: str) -> None:
        self.troubles.append((error.code, then))

    def fetch(self, *candidates) -> bytes:
        with self.fetcher.fetch("tiny", candidates, lambda: False) as brought:
            assert brought is not None
            data = brought.path.read_bytes()
            assert brought.hashed.digest == "sha256:" + hashlib.sha256(data).hexdigest()
            assert brought.hashed.size_bytes == len(data)
            return data

    def refused(self, *candidates) -> RbeeError:
        with pytest.raises(RbeeError) as caught:
            self.fetch(*candidates)
        return caught.value

    @property
    def left(self) -> list[Path]:
        return list(self.partials.iterdir())


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path)


def big(server: FileServer, **changes: object) -> Remote:
    return replace(Remote(server.url + "/big", SIZE_BYTES, DIGEST, '"v1"'), **changes)


def small(server: FileServer, **changes: object) -> Remote:
    return replace(Remote(server.url + "/small", len(SMALL), SMALL_DIGEST, '"v1"'), **changes)


def test_a_file_comes_in_parts_side_by_side(house, server):
    """Each byte is asked for once, 64 MiB at a time, and nothing is left behind."""
    assert house.fetch(big(server)) == DATA
    part = 64 << 20
    assert sorted(server.ranges()) == [(0, part), (part, 2 * part), (2 * part, SIZE_BYTES)]
    assert house.left == []
    assert house.said[-1][1:] == (SIZE_BYTES, SIZE_BYTES)


FAULTS = {
    "cut": first(5, cut(300_000)),
    "a burst of 500": first(3, status(500)),
    "429": first(2, status(429, retry_after="0")),
    "html": first(2, lambda a, r: r.headers.update({"content-type": "text/html"})),
    "200 to a range": lambda a, r: plain(r),
    "another range": first(2, lambda a, r: r.headers.update({"content-range": "bytes 5-9/99"})),
    "no range said": first(2, lambda a, r: r.headers.pop("content-range", "")),
    "wrong length": first(2, lambda a, r: r.headers.update({"content-length": "7"})),
    "another etag": first(1, lambda a, r: r.headers.update({"etag": '"v2"'})),
    "another etag each time": lambda a, r: r.headers.update({"etag": f'"{random.random()}"'}),
    "416": first(1, status(416)),
    "412": first(1, status(412)),
    "a stall": first(1, lambda a, r: setattr(r, "hold_after", 1000)),
    "a trickle": first(1, lambda a, r: setattr(r, "drip", 50)),
    "flipped bytes": first(2, lambda a, r: setattr(r, "body", b"\0" + r.body[1:])),
}


def plain(answer: Answer) -> None:
    answer.status, answer.body = 200, SMALL
    answer.headers.pop("content-range", "")


@pytest.mark.parametrize("name", FAULTS)
def test_what_passes_is_outlived(house, server, name):
    """A fault that passes costs time; the file is whole and right in the end."""
    server.faults.append(FAULTS[name])

    assert house.fetch(small(server)) == SMALL
    assert house.left == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (status(401), "SOURCE_FORBIDDEN"),
        (status(403), "SOURCE_FORBIDDEN"),
        (status(404), "SOURCE_NOT_FOUND"),
        (status(429), "SOURCE_RATE_LIMITED"),
        (status(503), "SOURCE_BROKEN"),
        (lambda a, r: r.headers.update({"content-type": "text/html"}), "SOURCE_BROKEN"),
        (lambda a, r: r.headers.update({"content-range": "bytes 0-1/2"}), "SOURCE_BROKEN"),
        (cut(10), "SOURCE_UNREACHABLE"),
        (lambda a, r: setattr(r, "body", b"\0" + r.body[1:]), "MODEL_CORRUPTED"),
    ],
)
def test_what_stays_is_told(house, server, fault, code):
    """A fault that stays is a coded error; nothing is kept that a later run would trust."""
    server.faults.append(fault)
    error = house.refused(small(server))

    assert error.code == code
    server.faults.clear()
    assert house.fetch(small(server)) == SMALL


def test_a_silence_that_stays_is_told(tmp_path, server):
    """DOWNLOAD_STALLED, after as many tries as every other fault gets."""
    house = House(tmp_path, replace(TIMING, download_stall_s=0.05))
    server.faults.append(lambda a, r: setattr(r, "hold_after", 0))

    assert house.refused(small(server)).code == "DOWNLOAD_STALLED"
    assert len(server.asked) == 7


def test_rubbish_is_fetched_three_times_and_not_kept(house, server):
    """MODEL_CORRUPTED names both digests; the partial is gone."""
    server.faults.append(lambda a, r: setattr(r, "body", b"\0" + r.body[1:]))
    error = house.refused(small(server))

    assert (error.code, error.facts["expected"]) == ("MODEL_CORRUPTED", SMALL_DIGEST)
    assert len(server.asked) == 3 and house.left == []
    assert [code for code, _ in house.troubles] == ["MODEL_CORRUPTED"] * 2


def test_the_next_source_goes_on_where_the_first_one_ended(house, server):
    """Two sources of one digest: what the first brought is not fetched again."""
    with file_server() as other:
        other.files = server.files
        server.faults += [cut(2 << 20), first(99, status(404), where=lambda one: one.begin > 0)]

        assert house.fetch(small(server), small(other, validator="")) == SMALL
        assert other.ranges() == [(2 << 20, 3 << 20)]
    assert [code for code, _ in house.troubles] == ["SOURCE_NOT_FOUND"]


def test_a_source_with_other_bytes_is_passed_over(house, server):
    """A later source that names another digest is not asked for a byte."""
    server.faults.append(status(404))
    with file_server() as other:
        other.files = server.files
        wrong = small(other, digest="sha256:" + "0" * 64)

        error = house.refused(small(server), wrong)
        assert other.asked == []
    assert "other bytes" in error.facts["problem"]


def test_a_source_that_is_asked_late_is_asked_when_its_turn_comes(house, server):
    """A candidate that is a function is not called while the ones before it do."""
    called = []

    def late() -> Remote:
        called.append(1)
        return small(server)

    assert house.fetch(small(server), late) == SMALL
    assert called == []
    assert house.fetch(small(server, url=server.url + "/none"), late) == SMALL
    assert called == [1]


def test_when_all_sources_are_spent_each_has_its_reason(house, server):
    """The most hopeful code, and what each of them said."""
    with file_server() as other:
        other.faults.append(status(500))
        error = house.refused(small(server, url=server.url + "/none"), small(other))

    assert error.code == "SOURCE_BROKEN"
    assert "404" in error.facts["problem"] and "500" in error.facts["problem"]


@pytest.mark.parametrize("known", ["size", "nothing"])
def test_a_file_of_which_little_is_known_comes_in_one_stream(house, server, known):
    """Without digest and ETag nothing vouches for parts; without a length the end is the end."""
    server.etags.clear()

    def simple(asked: Asked, answer: Answer) -> None:
        answer.status, answer.body = 200, SMALL
        answer.headers = {"content-length": ""} if known == "nothing" else {}

    server.faults.append(simple)
    remote = small(server, digest="", validator="", size_bytes=0)
    assert house.fetch(remote) == SMALL
    assert all("if-range" not in one.headers for one in server.asked)


def test_a_changed_file_of_unknown_digest_is_begun_anew(house, server):
    """Its ETag changes between parts: nothing of the old one is in the new one."""
    new = bytes(reversed(DATA))

    def change(asked: Asked, answer: Answer) -> None:
        if asked.begin >= 64 << 20 and server.etags["/big"] == '"v1"':
            server.files["/big"], server.etags["/big"] = new, '"v2"'
            answer.headers["etag"] = '"v2"'

    server.faults.append(change)

    assert house.fetch(big(server, digest="")) == new


def test_no_room_is_told_before_the_first_byte(tmp_path, server):
    """DISK_FULL with both numbers, nobody asked, nothing left."""
    house = House(tmp_path, limits=Limits(disk_reserve_bytes=1 << 60))
    error = house.refused(small(server))

    assert error.code == "DISK_FULL" and error.facts["needed_bytes"] > 1 << 60
    assert server.asked == [] and house.left == []


def test_a_full_disk_pauses_and_goes_on(house, server, monkeypatch):
    """Below the reserve nothing is written and it says so; with room it goes on by itself."""
    from rbee.models import brake

    full = threading.Event()
    monkeypatch.setattr(brake, "free_bytes", lambda folder: -1 if full.is_set() else 1 << 40)
    server.faults.append(first(1, lambda a, r: full.set()))

    def hear(phase: str, done_bytes: int, total_bytes: int) -> None:
        if phase == "paused: disk full":
            full.clear()
        house.said.append((phase, done_bytes, total_bytes))

    house.fetcher._progress = hear
    assert house.fetch(big(server)) == DATA
    assert "paused: disk full" in [phase for phase, *_ in house.said]
    assert [code for code, _ in house.troubles] == ["DISK_FULL"]


def test_a_disk_that_stays_full_ends_the_download(house, server, monkeypatch):
    """After the limit: DISK_FULL, and the partial is removed so that it fills no disk."""
    from rbee.models import brake

    full = threading.Event()
    monkeypatch.setattr(brake, "free_bytes", lambda folder: -1 if full.is_set() else 1 << 40)
    server.faults.append(first(1, lambda a, r: full.set()))

    assert house.refused(big(server)).code == "DISK_FULL"
    assert house.left == []


def test_two_that_want_the_same_file_fetch_it_once(tmp_path, server):
    """The second waits for the first, and then finds that there is nothing left to do."""
    gate, brought = threading.Event(), []
    server.faults.append(
        first(1, lambda a, r: (setattr(r, "hold_after", 1 << 20), setattr(r, "gate", gate)))
    )
    one = House(tmp_path, replace(TIMING, download_stall_s=30.0))
    two = House(tmp_path)
    thread = threading.Thread(target=lambda: brought.append(one.fetch(small(server))))
    thread.start()
    eventually(lambda: server.asked)

    def waiting(phase: str, done_bytes: int, total_bytes: int) -> None:
        assert phase == "waiting for another download"
        gate.set()

    two.fetcher._progress = waiting
    with two.fetcher.fetch("tiny", [small(server)], lambda: True) as found:
        assert found is None
    thread.join()

    assert brought == [SMALL] and server.sent_bytes == len(SMALL)


def test_a_rate_is_kept(tmp_path, server):
    """3 MiB at 6 MiB/s need half a second, less the first burst."""
    import time

    limits = Limits(disk_reserve_bytes=0, download_bytes_per_s=6 << 20)
    house = House(tmp_path, limits=limits)
    begun = time.monotonic()
    house.fetch(small(server))

    assert time.monotonic() - begun >= 0.2


def test_a_range_for_a_repair_comes_through_faults(house, server):
    """Exactly the bytes asked for, also where the connection is cut on the way."""
    server.faults.append(first(2, cut(500_000)))
    begin, end = 16 << 20, 32 << 20

    assert b"".join(house.fetcher.read_range(big(server), begin, end)) == DATA[begin:end]


@pytest.mark.parametrize("fault", [lambda a, r: plain(r), status(416), status(404)])
def test_a_source_without_ranges_repairs_nothing(house, server, fault):
    """A coded error, and not one wrong byte."""
    server.faults.append(fault)
    with pytest.raises(RbeeError) as caught:
        list(house.fetcher.read_range(small(server), 0, 100))

    assert caught.value.code in ("SOURCE_BROKEN", "SOURCE_NOT_FOUND")


def test_many_cuts_of_a_large_file_lose_nothing(house, server):
    """Every answer is cut somewhere; what came is never fetched again."""
    dice = random.Random(3)

    def break_off(asked: Asked, answer: Answer) -> None:
        answer.cut_after = dice.randrange(2 << 20, 30 << 20)

    server.faults.append(break_off)

    assert house.fetch(big(server)) == DATA
    assert server.sent_bytes <= SIZE_BYTES + len(server.asked) * (8 << 20)
