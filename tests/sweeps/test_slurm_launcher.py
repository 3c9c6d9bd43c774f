"""The launcher for SLURM: as processes of this machine, and (marker `slurm`) on the cluster that squeue answers for."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

pytest.importorskip("submitit", reason="needs the extra 'slurm'")

LAUNCHER = ("-m", "hydra/launcher=slurm", "hydra.launcher.poll_seconds=1", "hydra.launcher.mem_gb=1")


def statuses(toy):
    return [m["status"] for m in json.loads((toy.runs / "sweeps/default/sweep.json").read_text())]


def errors_of(toy):
    return [m["error"] for m in json.loads((toy.runs / "sweeps/default/sweep.json").read_text())]


def queue():
    return subprocess.run(
        ["squeue", "-r", "-h", "-o", "%i %T"], capture_output=True, text=True, check=True
    ).stdout.split("\n")


def test_members_run_as_jobs_and_a_failed_one_is_told(toy):
    body = "if cfg.seed == 1: raise RunError('seed 1 is bad')"
    code, _, errors = toy.run(body, *LAUNCHER, "hydra.launcher.cluster=local", "seed=0,1")
    assert code == 1, errors
    assert statuses(toy) == ["finished", "failed"]
    assert errors_of(toy)[1] == "seed 1 is bad"


def test_a_job_that_dies_without_a_word_is_a_failed_member(toy):
    body = f"if cfg.seed == 0: os.kill(os.getpid(), {int(signal.SIGKILL)})"
    code, _, errors = toy.run(body, *LAUNCHER, "hydra.launcher.cluster=local", "seed=0,1")
    assert code == 1, errors
    assert statuses(toy) == ["failed", "finished"]
    assert "left the queue without a result" in errors_of(toy)[0]


def test_a_machine_without_slurm_is_told_so(toy):
    code, _, errors = toy.run("pass", *LAUNCHER, "seed=0", PATH="/nowhere")
    assert code == 2
    assert errors.endswith(
        "hydra/launcher=slurm: there is no sbatch on this machine. Log in to the cluster, or use local.\n"
    )


def test_processes_that_would_not_find_each_other_are_not_started(toy):
    code, _, errors = toy.run("pass", *LAUNCHER, "hydra.launcher.cluster=local", "seed=0", "trainer.devices=2")
    assert code == 2
    assert "starts one process a run, but" in errors
    assert "ask for 2" in errors


cluster = pytest.mark.skipif(
    shutil.which("squeue") is None
    or subprocess.run(["squeue", "-h"], capture_output=True, check=False, timeout=20).returncode != 0,
    reason="squeue reaches no SLURM cluster",
)


@pytest.mark.slurm
@cluster
def test_a_cancelled_job_fails_alone(toy):
    process = toy.start("time.sleep(8)", *LAUNCHER, "seed=0,1")
    while len(toy.trace) < 2:
        assert process.poll() is None
        time.sleep(0.2)
    ledger = (toy.runs / "sweeps/default/.submitit/ledger.jsonl").read_text().splitlines()
    subprocess.run(["scancel", json.loads(ledger[0])["job"]], check=True)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert statuses(toy) == ["failed", "finished"]


@pytest.mark.slurm
@cluster
def test_a_driver_that_was_killed_waits_for_its_jobs_instead_of_submitting_them_twice(toy):
    process = toy.start("time.sleep(12)", *LAUNCHER, "seed=0,1")
    while len(toy.trace) < 2:
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, errors = toy.run("time.sleep(12)", *LAUNCHER, "seed=0,1")
    assert code == 0, errors
    assert errors.count("which runs already") == 2
    assert len(toy.trace) == 2
    assert statuses(toy) == ["finished", "finished"]
