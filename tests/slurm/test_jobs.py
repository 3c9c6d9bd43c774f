"""Single runs as jobs, submitted with the file that docs/cluster.md gives."""

import re
from pathlib import Path

import pytest

from evqa.callbacks.records import read_rows
from tests.slurm.cluster import kill_everything, prediction, runs, wait

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]
GUIDE = Path(__file__).parents[2] / "docs/cluster.md"


@pytest.fixture
def submit(cluster, tmp_path):
    (script,) = re.findall(r"```bash\n(#!/bin/bash.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "evqa.sbatch").write_text(script)

    def run(options, *arguments):
        options = ("--parsable", f"--output={tmp_path}/log", f"--chdir={tmp_path}", "--mem=1G", *options)
        return cluster.tell("sbatch", *options, f"{tmp_path}/evqa.sbatch", *arguments).strip()

    return run


def last_step(root):
    """The newest step in a run's metrics; it grows while the run lives."""
    rows = [row["step"] for run in runs(root) for row in read_rows(run.path / "metrics.jsonl")]
    return max(rows, default=-1)


def disturb(cluster, job, root, do):
    """Wait until the job has trained a little in this life, do something, and wait until it is queued again."""
    before, restarts = last_step(root), int(cluster.fact(job, "Restarts"))
    wait(lambda: last_step(root) > before)
    do()
    wait(lambda: int(cluster.fact(job, "Restarts")) > restarts)


def test_a_run_outlives_preemption_and_a_lost_node_in_one_folder(cluster, submit, small, undisturbed, tmp_path):
    job = submit((), *small, "trainer.log_every=1", f"run.root={tmp_path}")

    def preempt():
        cluster.tell("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")

    def lose_node():
        cluster.tell("scontrol", "update", f"nodename={cluster.fact(job, 'NodeList')}", "state=down", "reason=lost")
        kill_everything(f"run.root={tmp_path}")  # what a lost node does; this one is back, and chosen, in seconds

    disturb(cluster, job, tmp_path, preempt)
    whole = undisturbed(1)
    disturb(cluster, job, tmp_path, lose_node)
    wait(lambda: not cluster.tell("sinfo", "--noheader", "--states=down", "--format=%N").strip())  # it reports again
    cluster.wait_for(job, ("COMPLETED",), log=tmp_path / "log")
    (run,) = runs(tmp_path)
    assert prediction(run) == whole()


def test_two_nodes_told_of_their_time_limit_end_as_two_processes_of_one_node(
    cluster, submit, small, undisturbed, tmp_path
):
    options = ("--nodes=2", "--ntasks-per-node=1")
    job = submit(options, *small, "trainer.log_every=1", "trainer.num_nodes=2", f"run.root={tmp_path}")
    disturb(cluster, job, tmp_path, lambda: cluster.tell("scancel", "--signal=USR1", job))
    whole = undisturbed(2)
    cluster.wait_for(job, ("COMPLETED",), log=tmp_path / "log")
    (run,) = runs(tmp_path)
    assert (tmp_path / "log").read_text().count("Continuing from last.ckpt") == 1
    assert prediction(run) == whole()
