"""Where Linux's own interfaces are missing, as on macOS, nothing is lost but what they would have told.

Nobody runs these tests on macOS: the interfaces are hidden from the code instead.
"""

import json
import os
import time
from pathlib import Path

import pytest

from evqa.benchmarking.measure import machine
from evqa.machine.cores import cpu_name, num_cores
from evqa.media.store.claims import _place, try_claim
from evqa.training.datamodule import BatchSettings
from evqa.training.folder import RunFolder, environment


@pytest.fixture
def _not_linux(monkeypatch):
    read = Path.read_text

    def read_text(path, *args, **kwargs):
        if path.parts[:2] == ("/", "proc"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return read(path, *args, **kwargs)

    for name in ("sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "preadv2", "pwritev2"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(Path, "read_text", read_text)
    _place.cache_clear()
    yield
    _place.cache_clear()


@pytest.mark.usefixtures("_not_linux")
def test_cores_and_machine_are_described_all_the_same(tmp_path):
    assert num_cores() == os.cpu_count()
    assert cpu_name()
    assert machine(())["cores"] == environment()["num_cpus"] == os.cpu_count()
    assert 1 <= BatchSettings().num_workers() <= 8
    with RunFolder(tmp_path / "run").lock():
        pass


@pytest.mark.usefixtures("_not_linux")
def test_a_claim_counts_by_its_age(tmp_path):
    path = tmp_path / "some.claim"
    path.symlink_to(json.dumps(["another process", 1, None, "token"]))
    assert try_claim(path, patience_seconds=1000.0) is None
    os.utime(path, (time.time() - 2000, time.time() - 2000), follow_symlinks=False)
    assert try_claim(path, patience_seconds=1000.0) is not None
