"""Real processes that are killed, or asked to stop, at moments all over a run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from evqa.callbacks.checkpoints import damage
from evqa.runs.folder import RunFolder

KILL, TERM = int(signal.SIGKILL), int(signal.SIGTERM)
STEP = ("evqa.module", "ScoreModule.training_step")
VALIDATION = ("evqa.module", "ScoreModule.validation_step")
EVALUATION = ("evqa.module", "ScoreModule.predict_step")
WRITING = ("evqa.callbacks.checkpoints", "_Hashing.write")
ROTATING = ("os", "link")
RENAMED = ("evqa.callbacks.checkpoints", "_write_whole")  # the checkpoint is in its place, its checksum is not


@pytest.fixture(scope="module")
def live():
    """Call with arguments of `python -m evqa.train` and where to interrupt; returns the exit code."""
    program = Path(__file__).with_name("lives.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen([sys.executable, program], **pipes) as process:

        def run(*arguments, at=None):
            process.stdin.write(json.dumps({"arguments": arguments, "at": at}) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def only_run(root):
    (config,) = root.glob("*/*/config.yaml")
    return RunFolder(config.parent)


def moments(seed):
    """Ten places and signals; the last ones are after the training."""
    draw = random.Random(seed)
    places = [(STEP, draw.randint(2, 3)), (STEP, draw.randint(1, 4)), (VALIDATION, 1), (VALIDATION, 2)]
    places += [(WRITING, draw.randint(2, 90)), (WRITING, draw.randint(2, 90)), (ROTATING, draw.randint(1, 2))]
    places += [(RENAMED, draw.randint(1, 3))]
    draw.shuffle(places)
    signals = [KILL, TERM] * 5
    draw.shuffle(signals)
    places = [*places, (EVALUATION, 1), (EVALUATION, 2)]
    return [(*place, number, calls) for (place, calls), number in zip(places, signals, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planned", "options"),
    [
        (moments(0), ()),
        (moments(1)[1::2], ("trainer.accumulate=2", "trainer.validate_every=0.4", "data.batch_size=4")),
    ],
    ids=["epochs", "accumulation"],
)
def test_interruptions_leave_no_trace_in_the_results(live, small, tmp_path, planned, options):
    shared = (*small, "data.batch_size=8", "trainer.epochs=3", "callbacks.checkpoints.every_steps=1", *options)
    assert live(*shared, f"run.root={tmp_path}/whole") == 0
    arguments = (*shared, f"run.root={tmp_path}/broken", "data.workers=2")
    codes = []
    for moment in planned:
        codes.append(live(*arguments, at=moment))
        assert codes[-1] == (-KILL if moment[2] == KILL else 128 + TERM), (moment, codes)
    assert live(*arguments) == 0
    whole, broken = only_run(tmp_path / "whole"), only_run(tmp_path / "broken")
    assert broken.prediction("val").read_bytes() == whole.prediction("val").read_bytes()
    assert not list(broken.path.rglob("*.tmp"))
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (torch.load(f.checkpoints / name, weights_only=True) for f in (broken, whole))
        assert ours["global_step"] == theirs["global_step"]
        assert all(torch.equal(ours["state_dict"][key], theirs["state_dict"][key]) for key in theirs["state_dict"])


@pytest.mark.slow
def test_ctrl_c_ends_a_training_at_once(live, small, tmp_path):
    assert live(*small, f"run.root={tmp_path}", at=(*STEP, int(signal.SIGINT), 2)) == 130


@pytest.mark.slow
def test_a_terminated_command_saves_and_says_143(live, small, tmp_path):
    arguments = (*small, f"run.root={tmp_path}", "trainer.epochs=2000", "trainer.log_every=1")
    command = [sys.executable, "-m", "evqa.train", *arguments]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("*/*/metrics.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == "Stopping because of SIGTERM; the same command continues.\n"
    assert damage(only_run(tmp_path).checkpoints / "last.ckpt") is None
