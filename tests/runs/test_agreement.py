"""The same video has the same score wherever it is scored."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

from evqa.errors import CheckpointError, ConfigError, RunError
from evqa.runs.evaluation import evaluate_split
from evqa.scoring.prediction import predict
from evqa.scoring.request import Request


def read(path):
    return {id_: float(score) for id_, score in list(csv.reader(path.read_text().splitlines()))[1:]}


def test_evaluation_repeats_the_scores_of_training(finished):
    trained = read(finished.prediction("val"))
    evaluate_split(finished.path, split="val", modal="av", checkpoint="best", overrides=["data.batch_size=5"])
    evaluated = read(finished.prediction("val-av"))
    assert evaluated == pytest.approx(trained, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_prediction_of_a_table_and_of_files_repeats_them_too(finished, workplace, batch_size, tmp_path):
    home = next((workplace / "synthetic").glob("v*-40-16"))
    trained = read(finished.prediction("val"))
    predict(
        Request(
            inputs=[home / "val.csv"],
            videos=home / "videos",
            scorer=finished.path,
            out=tmp_path / "out.csv",
            override=[f"data.batch_size={batch_size}"],
        )
    )
    assert read(tmp_path / "out.csv") == pytest.approx(trained, abs=1e-5)
    row = next(csv.DictReader((home / "val.csv").read_text().splitlines()))
    predict(
        Request(
            inputs=[home / "videos" / f"{row['Id']}.mp4"],
            scorer=finished.path,
            title=row["Title"] or None,
            description=row["Description"] or None,
            out=tmp_path / "one.csv",
        )
    )
    (score,) = read(tmp_path / "one.csv").values()
    assert score == pytest.approx(trained[row["Id"]], abs=1e-5)


def test_a_run_may_be_moved(finished, tmp_path, workplace):
    moved = tmp_path / "moved"
    shutil.copytree(finished.path, moved)
    record = evaluate_split(moved, split="val", modal=None, checkpoint="last", overrides=[])
    assert record["n"] == 16


def test_a_part_of_the_modalities_may_be_scored_and_more_may_not(finished, train, tmp_path):
    for modal in ("a", "v"):
        record = evaluate_split(finished.path, split="val", modal=modal, checkpoint="best", overrides=[])
        assert (record["modal"], record["n"]) == (modal, 16)
    deaf = train("modal=v", f"run.root={tmp_path}")
    with pytest.raises(ConfigError, match=r"--modal av: the run was trained with modal=v"):
        evaluate_split(deaf.path, split="val", modal="av", checkpoint="best", overrides=[])


def test_changed_preprocessing_is_refused(finished, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(finished.path, changed)
    config = changed / "config.yaml"
    config.write_text(config.read_text().replace("count: 8", "count: 4"))
    with pytest.raises(CheckpointError, match=r"is the checkpoint of another run: frames.count: 8 there, 4 now"):
        evaluate_split(changed, split="val", modal=None, checkpoint="best", overrides=[])


def test_a_broken_file_is_a_failure_beside_the_others(finished, workplace, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    video = next((workplace / "synthetic").glob("v*-40-16/videos/*.mp4"))
    shutil.copy(video, folder / "good.mp4")
    (folder / "empty.mp4").touch()
    predict(Request(inputs=[folder], scorer=finished.path, json=True, out=tmp_path / "o.csv", fill=0.5))
    bad, good = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["id"], good["range"]) == ("good", [0.0, 1.0])
    assert good["missing"]
    assert bad["id"] == "empty"
    assert "empty" in bad["error"]
    assert read(tmp_path / "o.csv")["empty"] == 0.5
    with pytest.raises(RunError, match="None of the 1 inputs could be scored"):
        predict(Request(inputs=[folder / "empty.mp4"], scorer=finished.path))


def test_what_was_trained_cannot_be_overridden(finished):
    with pytest.raises(ConfigError, match=r"--override modal.name=v: only places may change"):
        evaluate_split(finished.path, split="val", modal=None, checkpoint="best", overrides=["modal.name=v"])
    with pytest.raises(ConfigError, match=r"the run has no key 'data.batchsize'. Did you mean 'data.batch_size'"):
        evaluate_split(finished.path, split="val", modal=None, checkpoint="best", overrides=["data.batchsize=2"])


def test_a_folder_that_is_no_scorer_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no scorer\. A scorer is a run folder"):
        predict(Request(inputs=[Path(sys.executable)], scorer=tmp_path))


def test_an_evaluation_never_replaces_what_training_wrote(train, tmp_path, capsys):
    run = train(f"run.root={tmp_path}")
    own = {file.name: file.read_bytes() for file in (run.path / "predictions").iterdir()}

    def names(**flags):
        evaluate_split(run.path, **({"split": "val", "modal": None, "checkpoint": "best", "overrides": []} | flags))
        return {file.name.partition(".")[0] for file in (run.path / "predictions").iterdir()} - {"val", "finished"}

    assert names() == {"val-eval"}
    assert read(run.prediction("val-eval")) == pytest.approx(read(run.prediction("val")), abs=1e-5)
    assert names() == {"val-eval"}
    (other,) = names(overrides=["data.batch_size=5"]) - {"val-eval"}
    assert other.startswith("val-override-")
    assert json.loads(run.prediction(other, "json").read_text())["overrides"] == ["data.batch_size=5"]
    assert f"{other}.csv" in capsys.readouterr().out
    assert {name: (run.path / "predictions" / name).read_bytes() for name in own} == own
