"""Runs that learn conversations: no scores, a loss, and the best checkpoint where it is smallest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import evqa
from evqa.config import identity
from evqa.config.compose import compose
from evqa.errors import ConfigError
from evqa.heads.levels import LevelsHead
from evqa.prompts.decoding import Decoding
from evqa.runs.fit import load_data, run
from evqa.training.build import build_model, build_module
from evqa.training.callbacks.checkpoint_files import read_checkpoint
from evqa.training.callbacks.records import read_rows
from evqa.training.folder import RunFolder
from evqa.training.plan import read_plan

UNEVEN = (1, 4, 2, 7, 3)  # so that a mean over batches would not be the mean over tokens


def conversation(number, *, learn=True):
    return [
        {"role": "user", "content": "<media>How good is it?"},
        {"role": "assistant", "content": "fine " * UNEVEN[number % 5], "learn": learn},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes" if number % 2 else "No", "learn": learn},
    ]


def write(path, ids, **rows):
    lines = [{"id": id_, "turns": rows.get(id_, conversation(number))} for number, id_ in enumerate(ids)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def options(data, workplace, tmp_path_factory):
    return options_of(tmp_path_factory.mktemp("conversations"), data, workplace)


def options_of(home, data, workplace):
    """Overrides of a small run that learns conversations; writes its tables into `home`."""
    ids = sorted(path.stem for path in (data / "videos").iterdir())
    write(home / "train.jsonl", ids[:14], **{ids[3]: conversation(3, learn=False)})
    write(home / "val.jsonl", ids[20:27])
    return (
        *("data=table", f"data.path={home}/train.jsonl", f"data.val_path={home}/val.jsonl"),
        *(f"data.root={data}/videos", "data.turns_column=turns", "data.label.range=[0,1]"),
        *(f"data.prepared={workplace}/prepared", f"data.cache.folder={workplace}/clips", "data.workers=0"),
        *("logger=csv", "trainer.progress=false", "model.width=16", "trainer.epochs=3", "data.batch_size=3", "modal=v"),
        *("trainer.log_every=1", f"run.root={home}/runs", "head=conversation", "callbacks=loss"),
    )


@pytest.fixture(scope="module")
def trained(options):
    """What the program returned, and the run's folder."""
    config = compose(list(options))
    return run(config), RunFolder(identity.folder(config))


def loss_by_hand(options, folder):
    """Mean over all learned tokens of the validation split, from log-probabilities, one sample at a time."""
    config = compose([*options, "data.batch_size=1"])
    scorer = build_model(read_plan(config))
    module = build_module(read_plan(config), scorer).eval()
    module.load_trained(read_checkpoint(folder.checkpoints / "best.ckpt"))
    losses = []
    with torch.no_grad():
        for batch in load_data(read_plan(config), scorer).val_dataloader():
            output = module.model(batch.inputs)
            hidden_ND, ids_N = output.learned()
            losses.append(-output.logits(hidden_ND).log_softmax(-1)[torch.arange(len(ids_N)), ids_N])
    return torch.cat(losses).mean().item(), sum(map(len, losses))


def test_the_loss_is_the_mean_over_all_learned_tokens_of_the_split(options, trained):
    returned, folder = trained
    record = json.loads(folder.prediction("val", "json").read_text())
    expected, num_tokens = loss_by_hand(options, folder)
    assert record["metrics"]["loss"]["value"] == pytest.approx(expected, abs=1e-5)
    assert returned == record["metrics"]["loss"]["value"]
    assert (record["num_tokens"], record["n"], list(record["metrics"])) == (num_tokens, 7, ["loss", "accuracy"])


def test_the_best_checkpoint_is_the_one_with_the_smallest_loss(trained):
    returned, folder = trained
    losses = [row["val/loss"] for row in read_rows(folder.path / "metrics.jsonl") if "val/loss" in row]
    assert len(losses) == 3
    assert len(set(losses)) == 3
    assert returned == pytest.approx(min(losses), abs=1e-9)
    assert losses.index(min(losses)) > 0  # something was learned
    assert not any("val/srocc" in row for row in read_rows(folder.path / "metrics.jsonl"))


def test_there_is_a_record_and_no_file_of_scores(trained):
    _, folder = trained
    assert sorted(path.name for path in (folder.path / "predictions").iterdir()) == ["finished", "val.json"]


def test_a_record_that_would_teach_nothing_is_left_out_and_told(trained):
    _, folder = trained
    (failure,) = json.loads(folder.prediction("val", "json").read_text())["train_failures"]
    assert (
        failure["reason"] == "it brings no conversation with a turn to learn, and head=conversation learns nothing else"
    )


def test_a_finished_run_says_its_loss_and_that_of_the_last_checkpoint_again(options, trained, capfd):
    assert run(compose(list(options))) == trained[0]
    said = capfd.readouterr().out
    last = [row["val/loss"] for row in read_rows(trained[1].path / "metrics.jsonl") if "val/loss" in row][-1]
    assert f"chosen on these items; the last one's loss a learned token: {last:.4f}" in said


def test_the_user_is_told_that_the_configured_loss_is_not_used(options, capfd, tmp_path):
    run(compose([*options, f"run.root={tmp_path}", "loss=huber", "trainer.epochs=1"]))
    said = " ".join(capfd.readouterr().out.split())
    assert "Loss: ConversationHead learns words by next-token loss; the configured loss (Huber) is not used." in said


def test_such_a_run_is_asked_and_not_scored(data, trained):
    scorer = evqa.load(trained[1].path)
    video = next((data / "videos").iterdir())
    (answer,) = scorer.ask([video], question="How good is it?", decoding=Decoding(max_new_tokens=6))
    assert answer.failure is None
    assert answer.text
    with pytest.raises(ConfigError, match="This scorer gives no scores"):
        list(scorer.score([video]))


@pytest.mark.slow
def test_two_processes_state_the_loss_of_the_whole_split(options, tmp_path):
    both = (*options, f"run.root={tmp_path}", "trainer.devices=2", "trainer.strategy=ddp", "trainer.epochs=1")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "evqa.train", *both]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (config,) = tmp_path.glob("*/*/config.yaml")
    folder = RunFolder(config.parent)
    record = json.loads(folder.prediction("val", "json").read_text())
    expected, num_tokens = loss_by_hand(options, folder)
    assert record["metrics"]["loss"]["value"] == pytest.approx(expected, abs=1e-5)
    assert (record["num_tokens"], record["n"]) == (num_tokens, 7)
    (logged,) = [row["val/loss"] for row in read_rows(folder.path / "metrics.jsonl") if "val/loss" in row]
    assert logged == pytest.approx(expected, abs=1e-5)


def test_levels_that_learn_words_train_and_score_through_a_whole_run(train, capfd):
    folder = train("head=levels", "head.train=words", "head.ending=.", "run.name=words", "trainer.epochs=1")
    record = json.loads(folder.prediction("val", "json").read_text())
    assert (record["n"], record["metrics"]["srocc"]["value"] is None) == (16, False)
    assert f"{LevelsHead.__name__} learns words by next-token loss" in capfd.readouterr().out
