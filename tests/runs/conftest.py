"""Data of one's own, as tables and videos, for the tests of this folder."""

import shutil

import pytest


@pytest.fixture(scope="session")
def data(workplace, finished, tmp_path_factory):
    """A copy of the small data set as tables and videos of one's own."""
    home = tmp_path_factory.mktemp("own")
    (made,) = workplace.glob("synthetic/v*-40-16")
    shutil.copytree(made, home, dirs_exist_ok=True)
    return home


@pytest.fixture
def own(data, tmp_path, workplace):
    """Overrides of a run on a copy of these tables, and their folder."""
    for name in ("train.csv", "val.csv"):
        shutil.copy(data / name, tmp_path / name)
    (tmp_path / "videos").symlink_to(data / "videos")
    options = [
        *("data=snapugc", f"data.csv={tmp_path}/train.csv", f"data.val_csv={tmp_path}/val.csv"),
        *(f"data.videos={tmp_path}/videos", f"data.prepared={workplace}/prepared", "data.workers=0", "logger=csv"),
        *(f"data.cache.folder={workplace}/clips", f"run.root={tmp_path}/runs", "model.width=16"),
        *("trainer.progress=false", "trainer.epochs=2", "callbacks.checkpoints.every_steps=1", "data.batch_size=8"),
        "callbacks.checkpoints.keep=all",
    ]
    return tmp_path, options
