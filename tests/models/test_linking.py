"""Somebody's own files: all of a model's or none, linked, and known again."""

from pathlib import Path

import pytest

from rbee.errors import RbeeError
from rbee.models.acquire import Acquire
from rbee.models.imports import imported
from rbee.models.linking import is_later_part, parts_of
from rbee.models.store import Store
from rbee.settings import Settings
from tests.model_file import model_path
from tests.models.test_store import quiet, untroubled
from tests.split_gguf import split


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("split") / "org" / "repo"
    folder.mkdir(parents=True)
    return split(model_path().read_bytes(), folder, "tiny")


def pull(root: Path, path: Path):
    return Acquire(Store(root), Settings(home=str(root)), quiet, untroubled).pull(str(path))


def test_the_files_of_a_split_model_are_found_by_their_names():
    """Whichever of them is named; a name of another form stands for itself."""
    second = Path("/x/a-00002-of-00003.gguf")

    assert [part.name for part in parts_of(second)] == [
        f"a-0000{n}-of-00003.gguf" for n in (1, 2, 3)
    ]
    assert is_later_part(second) and not is_later_part(parts_of(second)[0])
    assert parts_of(Path("/x/a.gguf")) == (Path("/x/a.gguf"),)


def test_a_split_model_is_linked_whole(parts, tmp_path):
    """Both files, under the names that the engine needs, and the facts of the whole."""
    manifest = pull(tmp_path, parts[0])
    store = Store(tmp_path)
    first = store.file(manifest)

    assert [piece.name for piece in manifest.files] == [path.name for path in parts]
    assert first.resolve() == parts[0]
    assert (first.parent / parts[1].name).resolve() == parts[1]
    assert manifest.facts.parameters == 134_515_008
    assert pull(tmp_path, parts[0]) == manifest


def test_an_import_links_a_split_model_too(parts, tmp_path):
    """Once, under a name without its part."""
    (one,) = imported(Store(tmp_path), f"lmstudio={parts[0].parents[2]}", quiet)

    assert (one.name, one.outcome) == ("tiny", "linked")


def test_a_part_alone_is_no_model(parts, tmp_path):
    """Whether its sister is missing, or its name hides that it has one."""
    alone = tmp_path / "tiny-00001-of-00002.gguf"
    alone.symlink_to(parts[0])
    renamed = tmp_path / "whole.gguf"
    renamed.symlink_to(parts[0])

    for path, code in ((alone, "MODEL_FILE_MISSING"), (renamed, "MODEL_CORRUPTED")):
        with pytest.raises(RbeeError) as caught:
            pull(tmp_path / "store", path)
        assert caught.value.code == code
