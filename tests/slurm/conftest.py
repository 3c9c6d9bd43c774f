"""One throw-away SLURM cluster for all tests of this folder, and runs without it to compare with."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, prediction, runs
from tests.sweeps.toys import Toy

HERE = Path(__file__).parent
PROGRAMS = ("slurmctld", "slurmd", "sinfo", "munged", "mungekey")
SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    missing = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
    if missing:
        pytest.skip(f"SLURM is not installed (no {', '.join(missing)})")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([HERE / "start.sh", folder], capture_output=True, text=True, check=False, timeout=60)
    if started.returncode:
        pytest.fail(f"the cluster does not start: {started.stderr}")
    given = dict(line.removeprefix("export ").split("=", 1) for line in (folder / "env").read_text().splitlines())
    path = os.pathsep.join((str(Path(sys.executable).parent), SEARCHED))
    ours = {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PATH": path}
    yield Cluster({**os.environ, **given, **ours})
    subprocess.run([HERE / "stop.sh", folder], check=True, timeout=120)


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


@pytest.fixture(scope="session")
def small(little):
    """Overrides of a run that lasts a few seconds and saves at every step."""
    return (
        *little,
        "data.batch_size=4",
        "data.workers=0",
        "trainer.epochs=16",
        "callbacks.checkpoints.every_steps=1",
    )


@pytest.fixture(scope="session")
def undisturbed(cluster, small, workplace):
    """Start a run without SLURM or interruption on a number of processes; returns a function to wait for its scores."""
    started = {}

    def start(devices):
        root = workplace / f"undisturbed{devices}"
        if devices not in started:
            started[devices] = cluster.train(*small, f"run.root={root}", f"trainer.devices={devices}")

        def finish():
            out, _ = started[devices].communicate(timeout=600)
            assert started[devices].returncode == 0, out
            return prediction(*runs(root))

        return cache(finish)

    return cache(start)
