"""Runs of two processes on one node, as Lightning starts them."""

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from evqa.eval import main as evaluate
from evqa.training.callbacks.records import read_rows
from evqa.training.folder import RunFolder
from tests.runs.comparing import differences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TWO = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.epochs=8", "callbacks.checkpoints.every_steps=1")
TWO += ("callbacks.checkpoints.keep=all",)


def start(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "evqa.train", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(*arguments):
    process = start(*arguments)
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return out


def runs(root):
    return [RunFolder(config.parent) for config in sorted(root.glob("*/*/config.yaml"))]


def is_locked(folder):
    with (folder.path / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(scope="module")
def two(small, tmp_path_factory):
    """Two runs of two processes each, members of one sweep; the root folder and what was printed."""
    root = tmp_path_factory.mktemp("two")
    return root, train("-m", *small, *TWO, f"run.root={root}", "seed=0,1")


def test_members_of_a_sweep_start_their_own_processes_and_no_sweep(two):
    root, out = two
    assert len(runs(root)) == 2
    assert out.count("Run: ") == 2  # the second processes are silent
    assert [m["status"] for m in json.loads((root / "sweeps/default/sweep.json").read_text())] == ["finished"] * 2


def test_every_item_is_scored_once_by_the_processes_together(two, finished):
    for run in runs(two[0]):
        assert ids(run) == ids(finished)
        record = json.loads(run.prediction("val", "json").read_text())
        assert (record["n"], record["num_failed"]) == (16, 0)
        rows = read_rows(run.path / "metrics.jsonl")
        assert {row["val/n"] for row in rows if "val/n" in row} == {16.0}
        best = max(row["val/challenge"] for row in rows if "val/challenge" in row)
        assert best == pytest.approx(record["metrics"]["challenge"]["value"], abs=1e-9)


def ids(run):
    return [row[0] for row in csv.reader(run.prediction("val").read_text().splitlines())]


def test_a_twice_interrupted_run_of_two_processes_continues_bit_by_bit(two, small, tmp_path):
    """The signals go to the first process alone."""
    run = interrupted((*small, *TWO), tmp_path, (signal.SIGTERM, 143), (signal.SIGKILL, -9))
    whole = runs(two[0])[0]
    assert run.path.name == whole.path.name
    assert run.prediction("val").read_bytes() == whole.prediction("val").read_bytes()
    ours, theirs = (last(one)["state_dict"] for one in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def interrupted(arguments, root, *signals):
    """Interrupt a run by each signal, which must give the exit code beside it, and let it end; returns its folder."""
    arguments = (*arguments, f"run.root={root}")
    for number, code in signals:
        before = saved_at(root)
        process = start(*arguments)
        while saved_at(root) == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        (run,) = runs(root)
        assert is_locked(run)
        process.send_signal(number)
        process.communicate(timeout=120)  # until the second process has closed its output, too
        assert process.returncode == code
        assert not is_locked(run)
        assert not run.is_finished
    train(*arguments)
    return run


def test_shards_end_as_copies_do_and_continue_bit_by_bit(two, small, tmp_path):
    """Copies and shards differ by the order of sums in a norm; their checkpoints are laid out alike."""
    there = ("trainer.strategy=fsdp", "trainer.accelerator=cpu", "trainer.precision=32", "trainer.deterministic=true")
    arguments = ("trainer=fsdp", *small, *TWO, *there)
    train(*arguments, f"run.root={tmp_path}/runs")
    (tmp_path / "runs").rename(tmp_path / "whole")
    run = interrupted(arguments, tmp_path / "runs", (signal.SIGKILL, -9))
    (whole,), copies = runs(tmp_path / "whole"), runs(two[0])[0]
    assert differences(run, whole) == []
    ours, theirs = ({**last(one), **last(one).pop("optimizer_states")[0]} for one in (whole, copies))
    assert ours.keys() == theirs.keys()
    for part in ("state_dict", "state"):
        torch.testing.assert_close(ours[part], theirs[part], atol=1e-6, rtol=1e-4)
    before = run.prediction("val").read_bytes()
    evaluate([str(run.path), "--split", "val"])  # in one process, which holds the whole model
    assert run.prediction("val").read_bytes() == before


def last(run):
    return torch.load(run.checkpoints / "last.ckpt", weights_only=True)


def saved_at(root):
    return [path.stat().st_mtime_ns for path in root.glob("*/*/checkpoints/previous.ckpt")]
