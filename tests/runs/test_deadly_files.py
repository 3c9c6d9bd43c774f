"""Files that kill or break their decoder cost themselves alone; a run that was refused costs nothing."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from evqa.config.compose import compose
from evqa.datasets import manifest
from evqa.errors import AnnotationError, ConfigError, RunError
from evqa.media import decoding
from evqa.runs import preparation
from evqa.runs.evaluation import evaluate_split
from evqa.scoring.prediction import predict
from evqa.scoring.request import Request
from tests.media import deadly

BAD = ("segv", "abort", "oom", "bug")


@pytest.fixture(autouse=True)
def _deadly(monkeypatch):
    monkeypatch.setattr(decoding, "_decode", deadly.deadly_decode)


@pytest.fixture(scope="module")
def table(finished, workplace, tmp_path_factory):
    """A table of 24 good videos and one of each bad kind in training and validation; overrides that read it."""
    home, folder = next((workplace / "synthetic").glob("v*-40-16")), tmp_path_factory.mktemp("deadly")
    rows = list(csv.DictReader((home / "train.csv").read_text().splitlines()))[: 24 + 2 * len(BAD)]
    names = [f"{name} {split}" for split in ("train", "val") for name in BAD]
    for row, name in zip(rows, names, strict=False):
        shutil.copy(home / "videos" / f"{row['Id']}.mp4", folder / f"{name}.mp4")
        row["Id"] = name
    for row in rows[len(names) :]:
        shutil.copy(home / "videos" / f"{row['Id']}.mp4", folder)
    parts = {"train": [*rows[:4], *rows[8:24]], "val": [*rows[4:8], *rows[24:]]}
    for split, part in parts.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(part)
    return folder


@pytest.fixture
def overrides(table, tmp_path):
    places = {"csv": table / "train.csv", "val_csv": table / "val.csv", "videos": table}
    places |= {"prepared": tmp_path / "prepared", "cache.folder": tmp_path / "clips"}
    return (*(f"data.{key}={place}" for key, place in places.items()), f"run.root={tmp_path / 'runs'}")


@pytest.fixture
def fit(overrides):
    from evqa.config import identity
    from evqa.runs.fit import run
    from evqa.training.folder import RunFolder

    def of(*more):
        fixed = ("data=snapugc", "model.width=16", "logger=csv", "trainer.progress=false", "trainer.epochs=1")
        config = compose([*fixed, "data.batch_size=4", "callbacks.checkpoints.keep=all", *overrides, *more])
        run(config)
        return RunFolder(identity.folder(config))

    return of


def reasons(failures):
    return {failure["id"]: failure["reason"] for failure in failures}


@pytest.mark.parametrize(("workers", "cache"), [(2, "null"), (0, "null"), (2, None)])
def test_training_eval_and_prediction_count_them_as_failures(fit, table, tmp_path, workers, cache, capsys):
    folder = fit("data.max_failures=0.5", f"data.workers={workers}", *([f"data.cache.folder={cache}"] if cache else []))
    expected = {split: {f"{name} {split}": deadly.SENTENCES[name] for name in BAD} for split in ("train", "val")}
    record = json.loads(folder.prediction("val", "json").read_text())
    assert (record["n"], reasons(record["failures"])) == (8, expected["val"])
    assert reasons(record["train_failures"]) == expected["train"]
    again = evaluate_split(folder.path, split="val", modal=None, checkpoint="last", overrides=[])
    assert again["n"] == 8
    assert reasons(again["failures"]) == expected["val"]
    good = next(path for path in table.glob("*.mp4") if " " not in path.name)
    inputs = [*(table / f"{name} val.mp4" for name in BAD), good]
    capsys.readouterr()
    predict(Request(inputs=inputs, scorer=folder.path, json=True))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines if "score" in line] == [str(good)]
    assert {Path(line["id"]).stem: line["error"] for line in lines if "error" in line} == {
        f"{name} val": deadly.SENTENCES[name] for name in BAD
    }


def test_preparing_lists_files_that_kill_their_prober_or_decoder(overrides, monkeypatch, tmp_path):
    monkeypatch.setattr(manifest, "inspect_file", deadly.deadly_inspect)
    config = compose(["data=snapugc", "model.width=16", *overrides])
    preparation.run(config)
    rejects = next((tmp_path / "prepared").glob("*/rejects.csv"))
    found = {row["id"]: row["reason"] for row in csv.DictReader(rejects.read_text().splitlines())}
    assert found == {f"{name} {split}": deadly.SENTENCES[name] for name in BAD for split in ("train", "val")}


def test_a_run_that_was_refused_does_not_block_the_corrected_one(fit, table, tmp_path):
    with pytest.raises(AnnotationError, match="no usable row is left"):
        fit("run.name=mine", f"data.videos={tmp_path}", "data.batch_size=8")
    with pytest.raises(ConfigError, match="no W&B login found"):
        fit("run.name=mine", "logger=wandb", "logger.mode=online")
    assert not list((tmp_path / "runs").rglob("config.yaml"))
    folder = fit("run.name=mine", "data.max_failures=0.5")
    assert folder.is_finished
    with pytest.raises(RunError, match="holds a run with other settings"):
        fit("run.name=mine", "data.max_failures=0.5", "data.batch_size=2")
