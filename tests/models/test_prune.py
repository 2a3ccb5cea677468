"""What goes when room is needed."""

from rbee.errors import RbeeError
from rbee.models.prune import Candidate, advised, choose

GIB = 1 << 30


def model(name, used_at, size=GIB, kept="", file=""):
    return Candidate(name, name, {file or name: size}, used_at, kept)


def names(choice):
    return [one.name for one in choice.chosen]


def test_the_least_recently_used_go_first_and_no_more_than_need_be():
    """As few as bring it down to the size."""
    models = [model("new", 3.0), model("old", 1.0), model("middle", 2.0)]

    assert names(choose(models, 3 * GIB)) == []
    assert names(choose(models, 2 * GIB)) == ["old"]
    assert names(choose(models, 0)) == ["old", "middle", "new"]
    assert choose(models, 2 * GIB).after_bytes == 2 * GIB


def test_what_is_kept_stays_whatever_is_asked():
    """Declared, pinned and loaded models are passed over."""
    models = [model("pinned", 1.0, kept="pinned"), model("old", 2.0)]

    choice = choose(models, 0)

    assert names(choice) == ["old"] and choice.after_bytes == GIB


def test_a_shared_file_is_counted_once():
    """Removing one of two names of a file frees nothing, so it is not removed."""
    models = [model("a", 1.0, file="f"), model("b", 2.0, file="f"), model("c", 3.0)]

    choice = choose(models, GIB)

    assert choice.before_bytes == 2 * GIB and names(choice) == ["c"]


def test_a_linked_file_frees_nothing():
    """A model that is somebody's own file stays."""
    linked = Candidate("mine", "mine", {}, 1.0)

    assert names(choose([linked, model("old", 2.0)], 0)) == ["old"]


def test_a_full_disk_names_what_could_go():
    """Names, sizes, last use, and the command; other errors are left alone."""
    full = RbeeError("DISK_FULL", needed_bytes=9, free_bytes=1)
    models = [model("new", 3e9), model("old", 1e9), model("pet", 0.0, kept="pinned")]

    told = advised(full, models).report

    assert "old (1.0 GiB, used 2001-09-09), new" in told.means and "pet" not in told.means
    assert told.action.startswith("rbee models rm old")
    assert told.details["removable"][0] == {"name": "old", "size_bytes": GIB, "used_at": 1e9}
    other = RbeeError("DISK_READ_ONLY")
    assert advised(other, models) is other and advised(full, []) is full
