"""Where the shared material lies; tests that need what is not there are skipped and say so."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
import torch  # noqa: F401 - where it is loaded, commands called in this process do not say that they load it

from tests.golden import find, place


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, first with those that wait for a cluster: others fill their gaps."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.get_closest_marker("slurm") is None, item.path not in slow))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI the programs that tests need are installed: a test that finds no cluster or browser there fails."""
    report = yield
    needed = [name for name in ("slurm", "browser") if item.get_closest_marker(name)]
    if report.skipped and needed and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"may not be skipped in CI ({needed[0]}): {report.longrepr[-1]}"
    return report


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference numbers of LMM-EVQA: EVQA_GOLDEN, the shared set, or the small copy beside the tests."""
    return find() or pytest.skip("no reference numbers (set EVQA_GOLDEN)")


@pytest.fixture(scope="session")
def vqa2() -> Path:
    """Reference numbers of VQA², found in the same way; not in the small copy."""
    return find("vqa2") or pytest.skip("no reference numbers of VQA² (set EVQA_GOLDEN)")


@pytest.fixture(scope="session")
def golden_numbers(golden: Path) -> dict:
    """The originals' metrics, losses and learning rates; not in the small copy."""
    path = golden / "metrics/metrics_losses.json"
    if not path.is_file():
        pytest.skip("metrics_losses.json is not in this copy of the reference numbers")
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def media() -> Path:
    """Real and broken sample videos."""
    folder = place("EVQA_MEDIA", "../shared/media")
    if not folder.is_dir():
        pytest.skip(f"no sample videos in {folder} (set EVQA_MEDIA)")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """Small inputs on which evqa was found wrong."""
    folder = place("EVQA_CASES", "../shared/cases")
    if not folder.is_dir():
        pytest.skip(f"no cases in {folder} (set EVQA_CASES)")
    return folder


@pytest.fixture(scope="session")
def twin(tmp_path_factory):
    """Write the toy-sized checkpoint of a model once; returns the model's keyword arguments."""
    written = {}

    def of(name):
        if name not in written:
            module = importlib.import_module(f"tests.models.twins.{name}")
            written[name] = module.write(tmp_path_factory.mktemp("twins") / name)
        return written[name]

    return of


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """A folder for clips that several tests share."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def little(workplace):
    """Overrides of a small model on a few clips, without W&B and progress."""
    return (
        f"data.folder={workplace}/synthetic",
        f"data.prepared={workplace}/prepared",
        f"data.cache.folder={workplace}/clips",
        "data.num_train=40",
        "data.num_val=16",
        "trainer.progress=false",
        "model.width=16",
        "logger=csv",
    )


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
        from evqa.config.compose import compose
        from evqa.runs.fit import run as fit
        from evqa.training.folder import RunFolder

        config = compose([*small, *overrides])
        fit(config)
        return RunFolder(identity.folder(config))

    return run


@pytest.fixture(scope="session")
def finished(train):
    """The folder of a small finished run with all its checkpoints; tests leave it as it is."""
    return train("callbacks.checkpoints.keep=all")
