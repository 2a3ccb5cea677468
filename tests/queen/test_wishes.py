"""What shall be served."""

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


@pytest.mark.parametrize("noise", [b"\x00noise", b'[{"name":"\xff"}]', b"[" * 100_000])
def test_a_file_of_noise_is_no_wish(tmp_path, noise):
    """A damaged file starts an empty rbee, not a crash."""
    (tmp_path / "w.json").write_bytes(noise)
    wishes = Wishes(tmp_path / "w.json")
    wishes.load()

    assert wishes.all() == ()


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
