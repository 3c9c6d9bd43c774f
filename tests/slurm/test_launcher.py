"""The launcher of sweeps on a real cluster, with toys as jobs that wait until they may end."""

import json
import os
import signal

import pytest

from tests.slurm.cluster import wait

pytest.importorskip("submitit", reason="needs the extra 'slurm'")
pytestmark = [pytest.mark.slurm, pytest.mark.slow]

LAUNCHER = ("-m", "hydra/launcher=slurm", "hydra.launcher.poll_seconds=1", "hydra.launcher.mem_gb=1", "seed=0,1")
WAITING = "while not (Path(cfg.run.root) / 'go').exists(): time.sleep(0.1)"


def start(toy, cluster):
    """Start a sweep of two jobs; returns its driver when both run."""
    driver = toy.start(WAITING, *LAUNCHER, **cluster.environment)
    wait(lambda: len(toy.trace) == 2 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()
    return driver


def test_a_cancelled_job_fails_alone(toy, cluster):
    driver = start(toy, cluster)
    ledger = (toy.runs / "sweeps/default/.submitit/ledger.jsonl").read_text().splitlines()
    job = json.loads(ledger[0])["job"]
    cluster.tell("scancel", job)
    cluster.wait_for(job, ("CANCELLED",))
    (toy.runs / "go").touch()
    _, errors = driver.communicate(timeout=240)
    assert driver.returncode == 1, errors
    assert toy.statuses == ["failed", "finished"]


def test_jobs_that_the_queue_refuses_end_in_a_sentence_with_its_words(toy, cluster):
    driver = toy.start("pass", *LAUNCHER, "hydra.launcher.partition=gpus", **cluster.environment)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 2
    assert "SLURM took none of the 2 jobs: sbatch: error: invalid partition specified: gpus" in errors
    assert "hydra.launcher.*" in errors
    assert "Traceback" not in errors


def test_a_driver_that_was_killed_waits_for_its_jobs_instead_of_submitting_them_twice(toy, cluster):
    first = start(toy, cluster)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    second = toy.start(WAITING, *LAUNCHER, **cluster.environment)
    said = [next(second.stderr) for _ in range(2)]
    (toy.runs / "go").touch()
    _, errors = second.communicate(timeout=240)
    assert second.returncode == 0, (said, errors)
    assert ["which runs already" in line for line in said] == [True, True]
    assert len(toy.trace) == 2
    assert toy.statuses == ["finished", "finished"]
