"""One small data set and one finished run for all tests of this folder."""

import pytest

from evqa.config.compose import compose
from evqa.runs.folder import RunFolder


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def small(workplace):
    """Overrides of a run that takes a second or two."""
    return (
        f"data.folder={workplace}/synthetic",
        f"data.prepared={workplace}/prepared",
        f"data.cache.folder={workplace}/clips",
        f"run.root={workplace}/runs",
        "data.num_train=40",
        "data.num_val=16",
        "data.workers=1",
        "trainer.epochs=2",
        "trainer.progress=false",
        "trainer.log_every=2",
        "model.width=16",
        "logger=csv",
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
