"""What a process concludes from the variables that srun, torchrun and SLURM leave it."""

import os
import signal
import stat

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from evqa.errors import RunError
from evqa.runs.processes import cluster_environment, is_first
from evqa.runs.settings import TrainerSettings
from evqa.training.callbacks.requeue import Interrupted, Stops


@pytest.fixture
def given(monkeypatch):
    """Replace what a cluster would have set."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "RANK", "LOCAL_RANK", "NODE_RANK"))]:
        monkeypatch.delenv(name)

    def give(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return give


def test_a_task_of_a_distributed_run_is_not_the_first_but_a_run_of_its_own_is(given):
    given(SLURM_JOB_ID="7", SLURM_STEP_NUM_TASKS="2", SLURM_NTASKS="2", SLURM_PROCID="1", SLURM_JOB_NAME="evqa")
    assert not is_first(2)
    assert is_first(1)
    assert isinstance(cluster_environment(2, 1), SLURMEnvironment)


def test_a_job_without_srun_starts_its_processes_itself(given):
    given(SLURM_JOB_ID="7", SLURM_NTASKS="1", SLURM_PROCID="0")
    assert is_first(2)
    assert isinstance(cluster_environment(2, 1), LightningEnvironment)
    given(LOCAL_RANK="1")
    assert not is_first(2)


def test_a_wrong_number_of_tasks_is_told(given):
    given(SLURM_STEP_NUM_TASKS="2", SLURM_JOB_NAME="evqa")
    with pytest.raises(RunError, match=r"srun started 2 processes, and trainer.devices=4 times trainer.num_nodes=1"):
        cluster_environment(4, 1)


def test_several_nodes_without_anything_that_starts_them_are_told(given):
    given()
    with pytest.raises(RunError, match=r"start the command on every node, with srun --nodes=2 --ntasks-per-node=4"):
        cluster_environment(4, 2)


def test_each_process_builds_its_model_on_a_device_of_its_own(given, monkeypatch):
    given(LOCAL_RANK="2")
    assert TrainerSettings(accelerator="auto", devices=4).device == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert TrainerSettings(accelerator="gpu", devices=4).device == "cuda:2"
    assert TrainerSettings(accelerator="gpu").device == "cuda:0"
    assert TrainerSettings(accelerator="cpu", devices=4).device == "cpu"


@pytest.fixture
def scontrol(tmp_path, monkeypatch, given):
    """A scontrol that writes down what it is asked, in an array job; returns the file."""
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit $FAILS\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("evqa.training.callbacks.requeue.WAIT_SECONDS", 0.0)
    given(SLURM_JOB_ID="12", SLURM_ARRAY_JOB_ID="10", SLURM_ARRAY_TASK_ID="2", FAILS="0")
    return tmp_path / "asked"


def stop_by(number):
    stops = Stops()
    with pytest.raises(Interrupted) as stopped, stops.listening():
        signal.raise_signal(number)
    return stopped.value.code


def test_a_job_told_of_its_time_limit_is_put_back_into_the_queue(scontrol):
    assert stop_by(signal.SIGUSR1) == 138
    assert scontrol.read_text() == "requeue 10_2\n"


def test_a_job_that_the_scheduler_ends_is_not(scontrol):
    assert stop_by(signal.SIGTERM) == 143
    assert not scontrol.exists()


def test_a_requeue_that_is_refused_is_told(scontrol, given, capfd):
    given(FAILS="1")
    assert stop_by(signal.SIGUSR2) == 140
    assert "The job is not put back into the queue" in capfd.readouterr().err


def test_a_signal_that_comes_where_nobody_looks_stops_the_run_behind_it(given):
    given()
    done, stops = [], Stops()

    def block():
        with stops.listening(), stops.deferred():
            signal.raise_signal(signal.SIGTERM)
            done.append("the block")

    with pytest.raises(Interrupted):
        block()
    assert done == ["the block"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
