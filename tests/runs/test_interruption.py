"""Real processes that are killed, or asked to stop, at moments all over a run: nothing that is written tells of it."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from evqa.training.callbacks.checkpoint_files import read_checkpoint
from evqa.training.callbacks.records import read_rows
from evqa.training.folder import RunFolder
from tests.runs.comparing import differences
from tests.runs.test_conversation import options_of
from tests.runs.test_conversation_tables import llava_options

CONF = Path(__file__).parents[2] / "conf"
KILL, TERM = int(signal.SIGKILL), int(signal.SIGTERM)
STEP = ("evqa.training.module", "ScoreModule.training_step")
VALIDATION = ("evqa.training.module", "ScoreModule.validation_step")
EVALUATION = ("evqa.scoring.scorer", "Scorer._compute")
WRITING = ("evqa.training.callbacks.checkpoint_files", "_Hashing.write")
ROTATING = ("os", "link")
LOGGING = ("evqa.training.callbacks.records", "MetricsFile.log_metrics")
RESUMING = ("evqa.training.callbacks.records", "MetricsFile.resume_at")
EPOCH = ("trainer.epochs=1", "data.num_train=24", "trainer.log_every=1")  # three steps, each saved and logged
RECIPES = {
    "epochs": (),
    "accumulation": ("trainer.accumulate=2", "trainer.validate_every=0.4", "data.batch_size=4"),
    "motion": ("trainer.accumulate=3", "data.batch_size=2", "trainer.epochs=2"),
    "text head": ("head=text", "trainer.epochs=2"),
    **{f"callbacks={path.stem}": (f"callbacks={path.stem}",) for path in sorted((CONF / "callbacks").glob("*.yaml"))},
    "an early end": (
        *("callbacks=early_stopping", "callbacks.early_stopping.min_delta=9", "callbacks.early_stopping.patience=1"),
        "trainer.epochs=5",
    ),
}


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


@pytest.fixture
def undisturbed(live, tmp_path):
    """Run to the end in `tmp_path/runs`, and lay it aside, so that another life finds the place empty."""

    def run(*arguments):
        assert live(*arguments, f"run.root={tmp_path}/runs") == 0
        shutil.rmtree(tmp_path / "whole", ignore_errors=True)
        (tmp_path / "runs").rename(tmp_path / "whole")
        return only_run(tmp_path / "whole")

    return run


def moments(seed):
    """Twelve places and signals; the last ones are after the training."""
    draw = random.Random(seed)
    places = [(STEP, draw.randint(2, 3)), (STEP, draw.randint(1, 4)), (VALIDATION, 1), (VALIDATION, 2)]
    places += [(WRITING, draw.randint(2, 90)), (WRITING, draw.randint(2, 90)), (ROTATING, draw.randint(1, 2))]
    places += [(LOGGING, draw.randint(1, 3))]
    draw.shuffle(places)
    signals = [KILL, TERM] * 5
    draw.shuffle(signals)
    places = [*places, (EVALUATION, 1), (EVALUATION, 2)]
    planned = [(*place, number, calls) for (place, calls), number in zip(places, signals, strict=True)]
    return [(*RESUMING, KILL, 1), *planned, (*RESUMING, KILL, 1)]


def interrupted(live, arguments, planned):
    """Live through all moments, and to the end."""
    for moment in planned:
        code = live(*arguments, at=moment)
        # After an early end there may be no such moment left; a training that goes on is seen in what it writes.
        assert code in (-KILL if moment[2] == KILL else 128 + TERM, 0), moment
    assert live(*arguments) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "planned"),
    [
        ("epochs", moments(0)),
        ("accumulation", moments(1)[1::2]),
        ("text head", moments(2)[2::3]),
        ("callbacks=default", moments(3)[::4]),
        ("callbacks=early_stopping", moments(4)[::3]),
        ("callbacks=loss", [(*STEP, KILL, 2), (*WRITING, TERM, 40), (*STEP, TERM, 4), (*RESUMING, KILL, 1)]),
        (
            "motion",
            [(*STEP, KILL, 4), (*STEP, TERM, 2), (*WRITING, KILL, 60), (*VALIDATION, KILL, 1), (*STEP, KILL, 3)],
        ),
        ("an early end", [(*STEP, KILL, 7), (*EVALUATION, KILL, 1), (*EVALUATION, TERM, 2), (*RESUMING, KILL, 1)]),
    ],
)
def test_interruptions_leave_no_trace_in_anything_that_is_written(
    live, small, data, workplace, tmp_path, undisturbed, recipe, planned
):
    options = ("data.batch_size=8", "trainer.epochs=3", "callbacks.checkpoints.every_steps=1", "trainer.log_every=1")
    conversations = {"callbacks=loss": options_of, "motion": llava_options}.get(recipe)
    learned = conversations(tmp_path, data, workplace) if conversations else small
    arguments = (*learned, *options, *RECIPES[recipe])
    whole = undisturbed(*arguments)
    interrupted(live, (*arguments, f"run.root={tmp_path}/runs"), planned)
    assert differences(only_run(tmp_path / "runs"), whole) == []


def test_every_kind_of_callback_is_interrupted():
    named = {name for name in RECIPES if name.startswith("callbacks=")}
    (marks,) = (m for m in test_interruptions_leave_no_trace_in_anything_that_is_written.pytestmark if m.args)
    assert named <= {recipe for recipe, _ in marks.args[1]}


@pytest.mark.slow
def test_a_chain_of_kills_at_every_change_of_a_file_leaves_no_trace(live, small, tmp_path, undisturbed):
    """The k-th life dies in its k-th write, rename, link, removal or flush: while it resumes, trains, or evaluates."""
    arguments = (*small, *EPOCH, "callbacks.checkpoints.every_steps=1", "data.workers=0")
    whole = undisturbed(*arguments)
    place = f"{tmp_path}/runs"
    for number in itertools.count(1):
        code = live(*arguments, f"run.root={place}", at=("files", place, number))
        if code != -KILL:
            break
    assert code == 0
    assert number > 20
    assert differences(only_run(tmp_path / "runs"), whole) == []


@pytest.mark.slow
@pytest.mark.skipif("EVQA_EVERY_KILL" not in os.environ, reason="takes three minutes; set EVQA_EVERY_KILL")
def test_a_kill_at_any_change_of_a_file_leaves_no_trace(live, small, tmp_path, undisturbed):
    arguments = (*small, *EPOCH, "callbacks.checkpoints.every_steps=1", "data.workers=0")
    whole, place = undisturbed(*arguments), f"{tmp_path}/runs"
    for number in itertools.count(1):
        if live(*arguments, f"run.root={place}", at=("files", place, number)) != -KILL:
            assert number > 20
            break
        assert live(*arguments, f"run.root={place}") == 0
        assert differences(only_run(tmp_path / "runs"), whole) == [], number
        shutil.rmtree(place)


@pytest.mark.slow
def test_a_pruned_trial_is_pruned_at_the_same_point_however_often_it_is_killed(live, small, tmp_path, undisturbed):
    """The other trial gets better between two lives: what was decided before must stay decided."""
    journal = tmp_path / "study.journal"
    study = optuna.create_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(journal))), direction="maximize"
    )
    other, trial = study.ask(), study.ask()
    for permille in (333, 667):
        other.report(-1.0 if permille == 333 else 2.0, permille)
    study.tell(other, 2.0)
    pruning = {"journal": journal, "study": "s", "trial": trial.number, "startup_trials": 1, "warmup": 0.0}
    arguments = (*small, "++callbacks.pruning._target_=evqa.training.callbacks.pruning.Pruning", "trainer.epochs=3")
    arguments = (*arguments, *(f"++callbacks.pruning.{key}={value}" for key, value in pruning.items()))
    before = journal.read_bytes()
    whole = undisturbed(*arguments)
    decided = study._storage.get_trial(trial._trial_id).user_attrs
    assert decided == {"decided": {"333": False, "667": True}, "pruned": 667}
    journal.write_bytes(before)
    at = [(*VALIDATION, KILL, 3), (*WRITING, KILL, 40), (*EVALUATION, KILL, 1), (*EVALUATION, TERM, 1)]
    interrupted(live, (*arguments, f"run.root={tmp_path}/runs"), at)
    assert differences(only_run(tmp_path / "runs"), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", [("last", "previous"), ("best",), ("best", "last")])
def test_damaged_checkpoints_cost_time_and_nothing_else(live, small, tmp_path, undisturbed, lost):
    arguments = (*small, *EPOCH, "trainer.epochs=2", "callbacks.checkpoints.every_steps=1")
    whole = undisturbed(*arguments)
    assert live(*arguments, f"run.root={tmp_path}/runs", at=(*EVALUATION, KILL, 1)) == -KILL
    run = only_run(tmp_path / "runs")
    for name in lost:
        (run.checkpoints / f"{name}.ckpt").write_bytes(b"PK")
    assert live(*arguments, f"run.root={tmp_path}/runs") == 0
    assert differences(run, whole) == []


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
    assert errors.splitlines()[-1] == "Stopping because of SIGTERM; the same command continues."
    state = read_checkpoint(only_run(tmp_path).checkpoints / "last.ckpt")
    rows = read_rows(only_run(tmp_path).path / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(state["global_step"]))


@pytest.mark.slow
def test_ctrl_c_while_a_checkpoint_is_written_waits_for_it_and_says_130(live, small, tmp_path):
    arguments = (*small, *EPOCH, f"run.root={tmp_path}", "callbacks.checkpoints.every_steps=1")
    assert live(*arguments, at=(*WRITING, int(signal.SIGINT), 20)) == 130
    assert read_checkpoint(only_run(tmp_path).checkpoints / "last.ckpt")["global_step"] == 1
