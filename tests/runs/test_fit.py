import csv
import json
import math
import shutil

import pytest
import torch

from evqa.config.compose import compose
from evqa.errors import AnnotationError, RunError
from evqa.metrics import evaluate
from evqa.runs import fit, results
from evqa.training.callbacks.checkpoint_files import read_checkpoint
from evqa.training.callbacks.checkpoints import newest_whole
from evqa.training.callbacks.records import read_rows
from evqa.training.callbacks.requeue import Interrupted
from evqa.training.module import ScoreModule


def predictions(folder):
    return folder.prediction("val").read_bytes()


def test_a_run_leaves_what_the_design_promises(finished):
    names = {str(path.relative_to(finished.path)) for path in finished.path.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "metrics.jsonl",
        "metrics.csv",
        "sessions.jsonl",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "predictions/val.csv",
        "predictions/val.json",
    } <= names
    rows = list(csv.reader(finished.prediction("val").read_text().splitlines()))
    assert rows[0] == ["Id", "ECR"]
    assert len(rows) == 17
    record = json.loads(finished.prediction("val", "json").read_text())
    assert (record["n"], record["num_failed"]) == (16, 0)
    assert record["metrics"]["srocc"]["low"] < record["metrics"]["srocc"]["value"] < record["metrics"]["srocc"]["high"]


def test_metrics_are_logged_with_n_rates_and_speed(finished):
    logged = {name for row in read_rows(finished.path / "metrics.jsonl") for name in row}
    expected = {"train/loss", "train/grad_norm", "val/srocc", "val/plcc", "val/krocc", "val/rmse", "val/challenge"}
    assert expected | {"val/n", "val/failed", "speed/samples_per_second", "speed/data_wait"} <= logged
    assert any(name.startswith("lr/") for name in logged)


def test_scores_without_labels_are_a_line_and_no_table_of_reasons():
    record = evaluate([0.2, 0.3], [math.nan, math.nan]).to_json()
    assert results.metrics_of(record, name="test") == (
        "test: 2 scored, 0 failed; without labels there is nothing to compare the scores with."
    )
    labelled = results.metrics_of(evaluate([0.2, 0.3], [0.1, math.nan]).to_json(), name="test")
    assert (labelled.title, labelled.row_count) == ("test: n=1, 0 failed", 5)


def test_two_runs_of_one_seed_give_identical_files_and_another_seed_does_not(finished, train, tmp_path):
    again = train(f"run.root={tmp_path}")
    assert predictions(again) == predictions(finished)
    assert predictions(train(f"run.root={tmp_path}", "seed=1")) != predictions(finished)


def test_a_finished_run_is_reported_and_not_trained_again(finished, train, capsys):
    before = (finished.checkpoints / "last.ckpt").stat().st_mtime_ns
    train()
    assert "is finished already" in capsys.readouterr().out
    assert (finished.checkpoints / "last.ckpt").stat().st_mtime_ns == before


def test_a_folder_of_other_settings_is_refused(train, tmp_path):
    train(f"run.root={tmp_path}", "run.name=mine", "trainer.epochs=1")
    said = (
        r"holds a run with other settings: trainer.epochs: 1 there, 2 now.* gone \(callbacks.checkpoints.keep=all keeps"
    )
    with pytest.raises(RunError, match=said):
        train(f"run.root={tmp_path}", "run.name=mine")


@pytest.mark.parametrize("stop_at", [1, 4, 5, 7])
def test_an_interrupted_run_continues_bit_by_bit(finished, train, tmp_path, monkeypatch, stop_at):
    """Stopped by an exception in the middle of a step, so that only what was saved before counts."""
    step = ScoreModule.training_step

    def stopping(self, batch, index):
        if self.global_step == stop_at:
            raise KeyboardInterrupt
        return step(self, batch, index)

    options = (f"run.root={tmp_path}", "callbacks.checkpoints.every_steps=1", "data.batch_size=8")
    options += ("callbacks.checkpoints.keep=all",)
    monkeypatch.setattr(ScoreModule, "training_step", stopping)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(*options)
    monkeypatch.undo()
    resumed = train(*options)
    steps = [row["step"] for row in read_rows(resumed.path / "metrics.jsonl") if "train/loss" in row]
    assert steps == sorted(set(steps))
    whole = train(f"run.root={tmp_path}/whole", *options[1:])
    assert predictions(resumed) == predictions(whole)
    last = [torch.load(f.checkpoints / "last.ckpt", weights_only=True)["state_dict"] for f in (resumed, whole)]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[1])


def test_a_flipped_byte_in_the_newest_checkpoint_is_noticed(finished, tmp_path):
    shutil.copytree(finished.checkpoints, tmp_path / "c")
    newest = tmp_path / "c" / "last.ckpt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    warnings = []
    assert newest_whole(tmp_path / "c", warnings.append).path == tmp_path / "c" / "previous.ckpt"
    assert warnings == [f"{newest} is damaged (its checksum is wrong); trying the one before"]
    assert read_checkpoint(tmp_path / "c" / "best.ckpt")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_items(train, tmp_path, monkeypatch):
    monkeypatch.setattr("evqa.training.losses.Mse.of_labelled", lambda self, score, label: score.sum() * float("nan"))
    with pytest.raises(RunError, match=r"The training loss became nan at step 0 \(batch 0\), ids clip_\d+, clip_"):
        train(f"run.root={tmp_path}")


def test_a_dry_run_prints_the_cost_and_writes_nothing(small, tmp_path, capsys):
    assert fit.run(compose([*small, f"run.root={tmp_path}", "dry_run=true"])) is None
    text = capsys.readouterr().out
    assert "tokens a sample" in text
    assert "memory a device, training" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("loss=plcc", "trainer.accumulate=4"), "16, of one batch; a step averages 4 such batches, weighted by"),
        (("loss=rank",), "16, of one batch "),
        (("loss=mse_plcc", "trainer.devices=2"), "16, of one batch; a step averages 2 such batches, weighted by"),
        (("loss=mse", "trainer.accumulate=4"), None),
    ],
)
def test_the_card_says_what_a_loss_that_compares_items_sees(small, capsys, options, said):
    fit.run(compose([*small, "dry_run=true", *options]))
    rows = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert ("samples that the loss compares" in rows) == (said is not None)
    assert said is None or said in rows


def test_the_card_says_steps_time_and_disk_as_the_run_then_has_them(small, finished, capsys):
    def card(*options):
        capsys.readouterr()
        fit.run(compose([*small, "dry_run=true", *options]))
        rows = [line.strip()[1:-1].split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
        return {what.strip(): estimate.strip() for what, estimate in rows if what.strip()}

    plain, whole = card(), card("callbacks.checkpoints.keep=all", "trainer.accelerator=gpu")
    steps = max(row["step"] for row in read_rows(finished.path / "metrics.jsonl") if "train/loss" in row) + 1
    assert plain["optimizer steps"] == f"{steps} (40 items, 2 epochs)"
    assert plain["time, training"].startswith("not estimated for a CPU")
    assert whole["time, training"].startswith("1 s, if 35% of an H100's bf16")
    megabytes = sum(path.stat().st_size for path in finished.checkpoints.iterdir()) / 1e6
    assert float(whole["disk: checkpoints, when finished"].split()[0]) == pytest.approx(megabytes, rel=0.15)
    assert float(plain["disk: checkpoints, when finished"].split()[0]) == pytest.approx(megabytes / 9, abs=0.06)
    total, _, each = plain["disk: decoded clips, at most"].split()[:3]
    assert float(total) == pytest.approx(56 * float(each), rel=0.1)


def test_the_card_says_why_steps_are_not_known(small, tmp_path, capsys):
    fit.run(compose([*small, "dry_run=true", f"data.folder={tmp_path}/none"]))
    assert "is not made yet" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_test_set_alone_is_nothing_to_train_on(tmp_path):
    (tmp_path / "t.csv").write_text("id,mos\na,3\n")
    (tmp_path / "a.mp4").write_text("never opened")
    places = (f"data.test_path={tmp_path}/t.csv", f"data.root={tmp_path}", f"run.root={tmp_path}/runs", "logger=csv")
    with pytest.raises(RunError, match=r"The data set has nothing to train on, only test; choose another one"):
        fit.run(compose(["data=table", "data.path=null", "data.label.range=[1,5]", "model.width=16", *places]))


@pytest.mark.parametrize("others", [(), ("another",)])
def test_a_run_whose_data_are_refused_leaves_no_folder(tmp_path, others):
    (tmp_path / "t.csv").write_text("id,mos\na,3\n")
    for name in others:
        (tmp_path / "runs" / "default" / name).mkdir(parents=True)
    places = (f"data.path={tmp_path}/t.csv", f"data.root={tmp_path}", f"run.root={tmp_path}/runs", "logger=csv")
    with pytest.raises(AnnotationError, match="no usable row is left"):
        fit.run(compose(["data=table", "data.label.range=[1,5]", "model.width=16", *places]))
    assert [path.name for path in (tmp_path / "runs").glob("*/*")] == list(others)
    assert (tmp_path / "runs").exists() == bool(others)


def test_an_interruption_has_an_exit_status_of_its_own():
    assert Interrupted(15).code == 143


def test_every_run_of_a_process_has_a_wandb_run_of_its_own(train, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    options = ("logger=wandb", "logger.mode=offline", "trainer.epochs=1", f"run.root={tmp_path}")

    def fail(self, batch):
        raise RunError("spoiled")

    with monkeypatch.context() as spoiled:
        spoiled.setattr(ScoreModule, "values", fail)
        with pytest.raises(RunError, match="spoiled"):
            train(*options, "seed=20")
    for seed in (21, 22):
        train(*options, f"seed={seed}")
    runs = sorted(tmp_path.glob("*/tiny-*"))
    assert [len(list(run.glob("wandb/offline-run-*/run-*.wandb"))) for run in runs] == [1, 1, 1]
