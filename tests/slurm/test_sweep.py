"""A sweep as an array of jobs, through everything that may happen to it."""

import json
import os
import signal

import pytest

from tests.slurm.cluster import prediction, runs, wait

pytest.importorskip("submitit", reason="needs the extra 'slurm'")
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]
SITE = """
defaults: [slurm]
partition: main
mem_gb: 1
poll_seconds: 1.0
timeout_min: 30
"""


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
    return run is not None and (run.checkpoints / "last.ckpt").exists()


def test_a_sweep_ends_whole_whatever_happens_to_its_jobs_and_its_driver(cluster, small, undisturbed, tmp_path):
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
