"""The launcher for SLURM as processes of this machine; on a cluster: tests/slurm/test_launcher.py."""

import re
import signal

import pytest

pytest.importorskip("submitit", reason="needs the extra 'slurm'")

LAUNCHER = ("-m", "hydra/launcher=slurm", "hydra.launcher.poll_seconds=1", "hydra.launcher.mem_gb=1")


def test_members_run_as_jobs_and_a_failed_one_is_told(toy):
    body = "if cfg.seed == 1: raise RunError('seed 1 is bad')"
    code, _, errors = toy.run(body, *LAUNCHER, "hydra.launcher.cluster=local", "seed=0,1")
    assert code == 1, errors
    assert toy.statuses == ["finished", "failed"]
    assert toy.errors[1] == "seed 1 is bad"
    (log,) = re.findall(r"job \S+: run 2 of 2: seed=1; log (\S+)", errors)
    assert (toy.folder / log).is_file()


def test_a_job_that_dies_without_a_word_is_a_failed_member(toy):
    body = f"if cfg.seed == 0: os.kill(os.getpid(), {int(signal.SIGKILL)})"
    code, _, errors = toy.run(body, *LAUNCHER, "hydra.launcher.cluster=local", "seed=0,1")
    assert code == 1, errors
    assert toy.statuses == ["failed", "finished"]
    assert "left the queue without a result" in toy.errors[0]


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
