"""A model in several files is loaded as one."""

from pathlib import Path

from rbee.models.acquire import Acquire
from rbee.models.store import Store
from rbee.settings import Settings
from tests.models.test_store import quiet, untroubled
from tests.split_gguf import split
from tests.worker_run import worker_run


def test_a_split_model_of_the_store_is_loaded(model_file: Path, tmp_path: Path) -> None:
    """The store shows the engine its blobs under the names that it looks for."""
    first, _ = split(model_file.read_bytes(), tmp_path, "tiny")
    store = Store(tmp_path / "store")
    settings = Settings(home=str(tmp_path))
    manifest = Acquire(store, settings, quiet, untroubled).pull(str(first))

    with worker_run(tmp_path, store.file(manifest)) as run:
        assert run.listening().port
