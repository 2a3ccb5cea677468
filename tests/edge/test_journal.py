"""The journal: what is told as kept is on the disk; what the disk refuses is told."""

import asyncio
import os
import stat

import pytest

from rbee.edge.journal import Journal


class Growing:
    """A job whose text grows."""

    def __init__(self, journal, number):
        self.journal = journal
        self.number = number
        self.pieces = []
        self.sizes = []
        self.errors = []
        self.told = asyncio.Event()

    def add(self, text):
        self.pieces.append(text)
        self.journal.grow(self)

    def take(self):
        text, self.pieces = b"".join(self.pieces), []
        self.sizes.append(len(text))
        return text

    def kept(self, error):
        self.errors.append(error)
        self.told.set()


async def done(ask):
    """The error, or None, that a change is answered with."""
    told = asyncio.get_running_loop().create_future()
    number = ask(told.set_result)
    return number, await asyncio.wait_for(told, 10)


async def opened(path):
    journal = Journal(path)
    return journal, await journal.open()


def test_what_is_kept_is_there_after_a_restart(tmp_path):
    """Request, text in its order, and end; what was erased is not."""

    async def run():
        journal, found = await opened(tmp_path / "j.sqlite")
        assert (found.jobs, found.damage, found.problem) == ((), "", None)
        first, error = await done(lambda told: journal.create(b"one", told))
        second, _ = await done(lambda told: journal.create(b"two", told))
        assert error is None
        job = Growing(journal, first)
        for _ in range(3):
            job.told.clear()
            job.add(b"a")
            job.add(b"b")
            await asyncio.wait_for(job.told.wait(), 10)
        await done(lambda told: journal.end(first, b"over", told))
        journal.erase(second)
        await journal.close()

        journal, found = await opened(tmp_path / "j.sqlite")
        (only,) = found.jobs
        assert (only.record, only.text, only.outcome) == (b"one", b"ababab", b"over")
        third, _ = await done(lambda told: journal.create(b"three", told))
        assert third > first
        await journal.close()

    asyncio.run(run())


def test_it_is_for_this_user_only(tmp_path):
    """Prompts and answers stand in it: 0600, its log of changes too."""

    async def run():
        old = os.umask(0)
        try:
            journal, _ = await opened(tmp_path / "j.sqlite")
            await done(lambda told: journal.create(b"one", told))
        finally:
            os.umask(old)
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
        assert modes == {"j.sqlite": 0o600, "j.sqlite-wal": 0o600}
        await journal.close()

    asyncio.run(run())


def test_many_tokens_are_one_commit(tmp_path):
    """What comes while a commit runs goes together into the next."""

    async def run():
        journal, _ = await opened(tmp_path / "j.sqlite")
        number, _ = await done(lambda told: journal.create(b"one", told))
        job = Growing(journal, number)
        for _ in range(1000):
            job.add(b"x")
        while sum(job.sizes) < 1000 or len(job.errors) < len(job.sizes):
            await asyncio.sleep(0)
        assert len(job.sizes) <= 3 and not any(job.errors)
        await journal.close()

    asyncio.run(run())


def test_the_loop_never_waits_for_it(tmp_path):
    """A commit that takes long delays nobody but its own job: the loop turns all the while."""

    async def run():
        path = tmp_path / "j.sqlite"
        journal, _ = await opened(path)
        number, _ = await done(lambda told: journal.create(b"one", told))
        job = Growing(journal, number)
        job.add(b"x" * (32 << 20))
        while not job.sizes:
            await asyncio.sleep(0)
        turns = 0
        while not job.errors:
            turns += 1
            await asyncio.sleep(0)
        assert turns > 100, turns
        await journal.close()

    asyncio.run(run())


def test_erased_is_overwritten(tmp_path):
    """Neither the file nor its log holds the words of a job that is forgotten, nor its room."""
    secret = b"the words of somebody " * 5000

    async def run():
        journal, _ = await opened(tmp_path / "j.sqlite")
        number, _ = await done(lambda told: journal.create(secret, told))
        job = Growing(journal, number)
        job.add(secret)
        await asyncio.wait_for(job.told.wait(), 10)
        assert any(secret[:20] in one.read_bytes() for one in tmp_path.iterdir())
        journal.erase(number)
        await journal.close()

    asyncio.run(run())
    assert not any(secret[:20] in one.read_bytes() for one in tmp_path.iterdir())
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) < len(secret)


def noise(path):
    path.write_bytes(os.urandom(8192))


def half(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [noise, half])
def test_a_damaged_one_is_told_and_begun_anew(tmp_path, damage):
    """It is moved aside, and new jobs are kept."""
    path = tmp_path / "j.sqlite"

    async def fill():
        journal, _ = await opened(path)
        for _ in range(20):
            await done(lambda told: journal.create(b"x" * 1000, told))
        await journal.close()

    async def again():
        journal, found = await opened(path)
        assert found.damage and not found.jobs
        assert (await done(lambda told: journal.create(b"new", told)))[1] is None
        await journal.close()

    asyncio.run(fill())
    damage(path)
    asyncio.run(again())
    assert path.with_name("j.sqlite.damaged").exists()


def test_a_disk_that_refuses_is_told_each_time_and_tried_again(tmp_path):
    """Its code for what was to be kept; once it is writable, new changes are kept."""
    path = tmp_path / "gone" / "j.sqlite"

    async def run():
        journal, found = await opened(path)
        assert found.problem is not None and found.problem.code == "DISK_IO"
        number, error = await done(lambda told: journal.create(b"one", told))
        assert error is not None and error.code == "DISK_IO"
        job = Growing(journal, number)
        job.add(b"x")
        await asyncio.wait_for(job.told.wait(), 10)
        assert job.errors[0].code == "DISK_IO"
        path.parent.mkdir()
        _, error = await done(lambda told: journal.create(b"two", told))
        assert error is None
        await journal.close()

        journal, found = await opened(path)
        assert [one.record for one in found.jobs] == [b"two"]
        await journal.close()

    asyncio.run(run())


def test_an_end_that_could_not_be_kept_is_owed(tmp_path):
    """It is written with the next change: a job that has ended is not run again."""
    path = tmp_path / "a" / "j.sqlite"
    path.parent.mkdir()

    async def run():
        journal, _ = await opened(path)
        number, _ = await done(lambda told: journal.create(b"one", told))
        await journal.close()
        hidden = path.parent.rename(tmp_path / "hidden")
        journal = Journal(path)
        _, error = await done(lambda told: journal.end(number, b"over", told))
        assert error is not None
        hidden.rename(path.parent)
        await journal.open()
        await done(lambda told: journal.create(b"two", told))
        await journal.close()
        journal, found = await opened(path)
        assert [one.outcome for one in found.jobs] == [b"over", None]
        await journal.close()

    asyncio.run(run())


def test_text_without_a_job_is_swept(tmp_path):
    """What a damaged life left behind does not stay for ever."""
    path = tmp_path / "j.sqlite"

    async def run():
        journal, _ = await opened(path)
        job = Growing(journal, 99)
        job.add(b"lost words")
        await asyncio.wait_for(job.told.wait(), 10)
        await journal.close()
        journal, found = await opened(path)
        assert not found.jobs
        await journal.close()

    asyncio.run(run())
    assert b"lost words" not in path.read_bytes()
