"""What shall be served."""

import os

import pytest

from rbee.errors import RbeeError
from rbee.queen.wishes import Wishes
from rbee.wire.control import ModelWish

WISH = ModelWish("m", "ref", keep_alive_s=-1)


def test_a_lasting_wish_survives_the_process(tmp_path):
    """`rbee serve` holds over crashes and reboots."""
    Wishes(tmp_path / "w.json").put(WISH, lasting=True)
    later = Wishes(tmp_path / "w.json")
    later.load()

    assert later.all() == (WISH,)


def test_a_passing_wish_is_forgotten_and_never_replaces_a_lasting_one(tmp_path):
    """On-demand loads leave no trace."""
    wishes = Wishes(tmp_path / "w.json")
    assert wishes.put(WISH, lasting=False)
    assert not wishes.put(WISH, lasting=False)
    wishes.forget_passing(("m", "chat"))

    assert wishes.all() == () and not (tmp_path / "w.json").exists()


@pytest.mark.parametrize("noise", [b"", b"\x00noise", b'[{"name":"\xff"}]', b"[" * 100_000])
def test_a_file_of_noise_is_put_aside_and_told(tmp_path, noise):
    """A damaged file starts an empty rbee, not a crash; the next wish does not write over it."""
    (tmp_path / "w.json").write_bytes(noise)
    wishes = Wishes(tmp_path / "w.json")
    damage = wishes.load()

    assert damage is not None and damage.code == "WISHES_DAMAGED"
    assert wishes.all() == () and wishes.put(WISH, lasting=True)
    assert (tmp_path / "w.json.damaged").read_bytes() == noise
    assert Wishes(tmp_path / "w.json").load() is None


def test_no_file_is_no_damage(tmp_path):
    """A new home has no wishes, and nothing to tell."""
    assert Wishes(tmp_path / "w.json").load() is None


def test_a_pipe_in_its_place_holds_nobody(tmp_path):
    """It would wait for a writer for ever."""
    os.mkfifo(tmp_path / "w.json")
    damage = Wishes(tmp_path / "w.json").load()

    assert damage is not None and "no ordinary file" in str(damage)


def test_a_wish_that_cannot_be_kept_is_none(tmp_path):
    """The disk's refusal is told in our words; nothing is promised that the next rbee forgets."""
    wishes = Wishes(tmp_path / "gone" / "w.json")
    with pytest.raises(RbeeError) as caught:
        wishes.put(WISH, lasting=True)

    assert caught.value.code == "DISK_IO" and wishes.all() == ()


def test_a_wish_ends_though_the_disk_refuses(tmp_path):
    """It is told that it may come back, and it is ended for now."""
    folder = tmp_path / "state"
    folder.mkdir()
    wishes = Wishes(folder / "w.json")
    wishes.put(WISH, lasting=True)
    folder.rename(tmp_path / "gone")
    with pytest.raises(RbeeError):
        wishes.drop("m")

    assert wishes.all() == ()


def test_dropping_a_model_ends_all_its_modes(tmp_path):
    """`rbee stop MODEL` ends chat and embeddings of it."""
    wishes = Wishes(tmp_path / "w.json")
    wishes.put(WISH, lasting=True)
    wishes.put(ModelWish("m", "ref", mode="embedding"), lasting=False)
    wishes.drop("m")

    assert wishes.all() == ()


def test_what_stays_loaded_rests_and_comes_back(tmp_path):
    """`rbee stop --all` forgets only what was loaded on demand."""
    wishes = Wishes(tmp_path / "w.json")
    declared = ModelWish("declared", "ref", keep_alive_s=-1)
    wishes.put(WISH, lasting=True)
    wishes.put(declared, lasting=False)
    wishes.put(ModelWish("passing", "ref"), lasting=False)
    wishes.rest()

    assert wishes.all() == () and not wishes.has(("m", "chat"))
    wishes.forget_passing(("declared", "chat"))
    assert set(wishes.resume()) == {WISH, declared}
    assert set(wishes.all()) == {WISH, declared}
    assert wishes.resume() == ()


def test_who_asks_for_a_resting_model_wakes_it_alone(tmp_path):
    """The others rest on."""
    wishes = Wishes(tmp_path / "w.json")
    other = ModelWish("other", "ref", keep_alive_s=-1)
    wishes.put(WISH, lasting=True)
    wishes.put(other, lasting=True)
    wishes.rest()

    assert wishes.put(WISH, lasting=True)
    assert wishes.all() == (WISH,)
    assert wishes.resume() == (other,)


def test_resting_does_not_outlive_the_process(tmp_path):
    """After a reboot everything that is wished is back at the next `up`."""
    wishes = Wishes(tmp_path / "w.json")
    wishes.put(WISH, lasting=True)
    wishes.rest()
    later = Wishes(tmp_path / "w.json")
    later.load()

    assert later.all() == (WISH,)
