"""Where the shared material lies; tests that need what is not there are skipped and say so."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def _place(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or TESTS.parent / default)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, first with those that wait for a cluster: others fill their gaps."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.get_closest_marker("slurm") is None, item.path not in slow))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference numbers of LMM-EVQA: EVQA_GOLDEN, the shared set, or the small copy beside the tests."""
    for place in (_place("EVQA_GOLDEN", "../shared/golden"), TESTS / "golden_small"):
        for folder in (place / "lmm_evqa", place):
            if (folder / "preprocess/videos.json").is_file():
                return folder
    pytest.skip("no reference numbers (set EVQA_GOLDEN)")


@pytest.fixture(scope="session")
def media() -> Path:
    """Real and broken sample videos."""
    folder = _place("EVQA_MEDIA", "../shared/media")
    if not folder.is_dir():
        pytest.skip(f"no sample videos in {folder} (set EVQA_MEDIA)")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """Small inputs on which this project was once found wrong."""
    folder = _place("EVQA_CASES", "../shared/cases")
    if not folder.is_dir():
        pytest.skip(f"no collected cases in {folder} (set EVQA_CASES)")
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
