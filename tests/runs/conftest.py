"""One small data set and one finished run for all tests of this folder."""

import pytest

from evqa.config.compose import compose
from evqa.runs.folder import RunFolder


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
