"""One small data set and one finished run for all tests of this folder."""

import shutil

import pytest

from evqa.config.compose import compose
from evqa.training.folder import RunFolder


@pytest.fixture(scope="session")
def small(workplace, little):
    """Overrides of a run that takes a second or two."""
    return (
        *little,
        f"run.root={workplace}/runs",
        "data.workers=1",
        "trainer.epochs=2",
        "trainer.log_every=2",
    )


@pytest.fixture(scope="session")
def train(small):
    """Train with overrides in this process; returns the run's folder."""

    def run(*overrides):
        from evqa.config import identity
        from evqa.runs.fit import run as fit

        config = compose([*small, *overrides])
        fit(config)
        return RunFolder(identity.folder(config))

    return run


@pytest.fixture(scope="session")
def finished(train):
    return train()


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
    ]
    return tmp_path, options
