"""Runs and sweeps as jobs of a real cluster, through everything that may happen to them.

One file, so that one cluster serves these tests.
"""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from evqa.training.callbacks.records import read_rows
from tests.slurm.cluster import kill, prediction, runs, started_with, wait

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]
GUIDE = Path(__file__).parents[2] / "docs/cluster.md"
SITE = """
defaults: [slurm]
partition: main
mem_gb: 1
poll_seconds: 1.0
timeout_min: 30
"""


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
    """Wait until the job has trained a little in this life, do something, and wait until that life is over."""
    cluster.wait_for(job, ("RUNNING",), log=root / "log")
    before, restarts = last_step(root), int(cluster.fact(job, "Restarts"))
    wait(lambda: last_step(root) > before)
    life = set(started_with(f"run.root={root}"))
    do(life)
    wait(lambda: int(cluster.fact(job, "Restarts")) > restarts)
    wait(lambda: not life & set(started_with(f"run.root={root}")))  # it goes on writing for a moment


def test_a_run_outlives_preemption_and_a_lost_node_in_one_folder(cluster, submit, small, undisturbed, tmp_path):
    job = submit((), *small, "trainer.log_every=1", f"run.root={tmp_path}")

    def preempt(_):
        cluster.tell("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")

    def lose_node(life):
        cluster.tell("scontrol", "update", f"nodename={cluster.fact(job, 'NodeList')}", "state=down", "reason=lost")
        kill(life)  # what a lost node does; this one is back, and chosen, in seconds

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
    disturb(cluster, job, tmp_path, lambda _: cluster.tell("scancel", "--signal=USR1", job))
    whole = undisturbed(2)
    cluster.wait_for(job, ("COMPLETED",), log=tmp_path / "log")
    (run,) = runs(tmp_path)
    assert (tmp_path / "log").read_text().count("Continuing from last.ckpt") == 1
    assert prediction(run) == whole()


def ledger(root):
    path = root / "sweeps/default/.submitit/ledger.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(next(o for o in row["overrides"] if o.startswith("seed=")), row["job"]) for row in rows]


def members(root):
    return [(m["status"], m["error"] or "") for m in json.loads((root / "sweeps/default/sweep.json").read_text())]


def run_of(root, seed):
    found = [run for run in runs(root) if f"-s{seed}-" in run.path.name]
    return found[0] if found else None


def has_saved(root, seed):
    run = run_of(root, seed)
    return run is not None and any(run.checkpoints.glob("*.ckpt"))


def test_a_sweep_ends_whole_whatever_happens_to_its_jobs_and_its_driver(cluster, small, undisturbed, tmp_path):
    pytest.importorskip("submitit", reason="needs the extra 'slurm'")
    site = tmp_path / "site/hydra/launcher/mysite.yaml"
    site.parent.mkdir(parents=True)
    site.write_text(SITE)
    place = ("--config-dir", str(tmp_path / "site"), "hydra/launcher=mysite", f"run.root={tmp_path}")
    command = ("-m", *place, *small, "seed=0,1,2")

    first = cluster.train(*command)
    jobs = dict(wait(lambda: len(rows := ledger(tmp_path)) == 3 and rows))
    os.killpg(first.pid, signal.SIGKILL)  # the driver dies ...
    first.communicate()
    second = cluster.train(*command)  # ... is started again, and finds its jobs
    assert {next(second.stdout).partition(", which runs already")[0] for _ in jobs} == {
        f"waiting for job {job}" for job in jobs.values()
    }
    cluster.tell("scancel", jobs["seed=1"])
    wait(lambda: has_saved(tmp_path, 0))
    cluster.tell("scancel", "--signal=USR2", jobs["seed=0"])  # as before the time limit
    out, _ = second.communicate(timeout=600)
    assert second.returncode == 1, out
    assert cluster.fact(jobs["seed=0"], "Restarts") == "1"
    assert [status for status, _ in members(tmp_path)] == ["finished", "failed", "finished"]
    assert "left the queue without a result" in members(tmp_path)[1][1]
    assert "2 of 3 runs finished" in out

    third = cluster.train(*command)
    out, _ = third.communicate(timeout=600)
    assert third.returncode == 0, out
    assert [status for status, _ in members(tmp_path)] == ["finished"] * 3
    assert len(runs(tmp_path)) == 3
    assert prediction(run_of(tmp_path, 0)) == undisturbed(1)()
    assert [len(prediction(run)) for run in runs(tmp_path)] == [17] * 3
