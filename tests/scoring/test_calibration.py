"""A run's calibration: every way to score prints the same numbers, and a wrong file is a sentence."""

import json
import shutil

import pyarrow.parquet
import pytest

import evqa
from evqa.calibrate import main as calibrate
from evqa.errors import ConfigError, FileError
from evqa.files.terminal import Terminal
from evqa.metrics import read_scores, write_scores
from evqa.runs.merging import export_run
from evqa.scoring.calibration import read_calibration
from evqa.scoring.outcome import ScoreOutcome
from evqa.scoring.prediction import predict
from evqa.scoring.progress import Tally, print_scores
from evqa.scoring.request import Request
from evqa.scoring.score import Meaning
from evqa.training.folder import RunFolder
from evqa.types import LabelScale
from evqa.web.score_card import score_card, score_json
from evqa.web.scorers import OfferedScorer
from tests.scoring.test_load import validation


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    """A run with a calibration: to labels that rise with its scores, whatever it has learned."""
    home = tmp_path_factory.mktemp("calibrated")
    shutil.copytree(finished.path, home / "run")
    scores = read_scores(home / "run/predictions/val.csv").values
    ordered = sorted(scores, key=scores.get)
    write_scores(home / "labels.csv", {id_: place / 16 for place, id_ in enumerate(ordered)}, label="ECR")
    calibrate([str(home / "run"), "--labels", str(home / "labels.csv")])
    return home / "run"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export_run(run, out=tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture
def changed(run, tmp_path):
    """Copy a folder and change its calibration."""

    def make(folder=run, **content):
        shutil.copytree(folder, tmp_path / "copy")
        file = tmp_path / "copy/calibration.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | content))
        return tmp_path / "copy"

    return make


def validation_of(run):
    return validation(RunFolder(run))


def lines(capsys, **request):
    capsys.readouterr()
    predict(Request(json=True, **request))
    said = capsys.readouterr()
    return [json.loads(line) for line in said.out.splitlines()], said.err


def test_every_way_to_score_gives_the_same_calibrated_numbers(run, exported, videos, capsys, tmp_path):
    records = validation_of(run)
    path = records[0].paths[0]
    stored = read_calibration(run / "calibration.json")
    scores = {score.id: score for score in evqa.load(run).score(records)}
    for place in (run, exported):
        for score in evqa.load(place).score(records):
            assert score.value == pytest.approx(scores[score.id].value, abs=1e-5)
            assert score.calibrated == stored.of(score.value)
            assert 0 <= score.calibrated.low <= score.calibrated.value <= score.calibrated.high <= 1
        (row,), err = lines(capsys, inputs=[path], scorer=place)
        assert (row["calibrated"], row["low"], row["high"]) == stored.of(row["score"])
        assert row["interval"] == stored.statement
        assert stored.statement in err
    predict(Request(inputs=[path], scorer=run))
    calibrated, low, high = stored.of(row["score"])
    assert f"\tcalibrated {calibrated:.4g}, 90 % interval {low:.4g} to {high:.4g}" in capsys.readouterr().out
    predict(Request(inputs=[path], scorer=run, out=tmp_path / "o.parquet"))
    (cells,) = pyarrow.parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert (cells["calibrated"], cells["low"], cells["high"]) == stored.of(cells["score"])
    predict(Request(inputs=[path], scorer=run, out=tmp_path / "o.csv"))
    assert "it holds the scores alone; calibrated ones and intervals stand in .jsonl" in capsys.readouterr().err
    assert (tmp_path / "o.csv").read_text().splitlines()[0] == "Id,ECR"


def test_the_page_shows_the_interval_and_none_for_a_part_of_the_modalities(run):
    (record, *_), stored = validation_of(run), read_calibration(run / "calibration.json")
    offered = OfferedScorer(name="run", scorer=evqa.load(run))
    whole, part = (offered.score(record, modal=modal) for modal in ("av", "v"))
    value, low, high = stored.of(whole.score.value)
    assert score_json(whole, offered)["calibrated"] == {"value": value, "low": low, "high": high}
    card = score_card(whole, offered)
    assert f"In the size of the labels {value:.4g}, between {low:.4g} and {high:.4g}." in card
    assert stored.statement in card
    assert score_json(part, offered)["calibrated"] is None
    assert "In the size of the labels" not in score_card(part, offered)


def test_the_table_has_the_columns_and_says_what_they_are(run, capsys):
    meaning = Meaning(scale=LabelScale(), calibration=read_calibration(run / "calibration.json"))
    tally = Tally()
    tally.add(ScoreOutcome("a.mp4", 0.5), is_outside=False)
    print_scores(tally, meaning, Terminal(width=80))
    value, low, high = meaning.calibrated(0.5)
    out = capsys.readouterr().out
    header = [cell.strip() for cell in out.splitlines()[2].split("┃")[1:-1]]
    assert header == ["video", "ECR", "calibrated", "low", "high", "notes"]
    assert f"{value:.4f}" in out
    assert f"{low:.4f}" in out
    assert f"{high:.4f}" in out


def test_a_run_without_calibration_prints_as_before(run, finished, videos, capsys):
    path = validation_of(run)[0].paths[0]
    (plain,), err = lines(capsys, inputs=[path], scorer=finished.path)
    (full,), _ = lines(capsys, inputs=[path], scorer=run)
    assert [key for key in full if key not in plain] == ["calibrated", "low", "high", "interval"]
    assert {key: full[key] for key in plain} == plain
    assert "calibrat" not in err


@pytest.mark.parametrize(
    ("content", "request_", "reason"),
    [
        ({}, {"modal": "v"}, "it is of modal=av, and modal=v is scored"),
        ({"checkpoint_sha256": "1" * 64}, {}, "it is of another checkpoint"),
        ({"label": {"name": "MOS", "range": [1, 5]}}, {}, "it is of MOS on 1 to 5, and the scores are ECR on 0 to 1"),
    ],
)
def test_a_calibration_of_something_else_is_not_used_which_is_said(changed, capsys, content, request_, reason):
    folder = changed(**content)
    (row,), err = lines(capsys, inputs=[validation_of(folder)[0].paths[0]], scorer=folder, **request_)
    assert "calibrated" not in row
    assert f"Note: {folder / 'calibration.json'} is not used: {reason}." in err


def test_a_calibration_of_another_checkpoint_is_not_exported(changed, capsys, tmp_path):
    folder = changed(checkpoint_sha256="1" * 64)
    export_run(folder, out=tmp_path / "model")
    assert "is not used: it is of another checkpoint, and not exported." in capsys.readouterr().err
    assert not (tmp_path / "model/calibration.json").exists()
    assert "checkpoint_sha256" not in json.loads((tmp_path / "model/evqa.json").read_text())


def test_a_calibration_put_beside_other_weights_is_not_used(exported, changed, capsys):
    folder = changed(exported, checkpoint_sha256="1" * 64)
    assert evqa.load(folder).meaning.calibration is None


def test_the_same_command_is_another_one_after_a_calibration(finished, run, tmp_path, videos):
    folder, path = tmp_path / "run", validation_of(run)[0].paths[0]
    shutil.copytree(finished.path, folder)
    predict(Request(inputs=[path], scorer=folder, out=tmp_path / "o.jsonl"))
    shutil.copyfile(run / "calibration.json", folder / "calibration.json")
    with pytest.raises(ConfigError, match="belongs to a command with another scorer"):
        predict(Request(inputs=[path], scorer=folder, out=tmp_path / "o.jsonl"))


LINE = {"intercept": 0.1, "slope": 2.0}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"method": "os.system"}, "method must be linear or isotonic"),
        ({"method": "linear", "map": {"intercept": 0.1, "slope": -1}}, "map.slope must be above 0"),
        ({"method": "linear", "map": LINE | {"slope": 10**400}}, "map.slope must be a finite number"),
        ({"method": "linear", "map": LINE | {"slope": True}}, "map.slope must be a finite number"),
        ({"method": "linear", "map": [1, 2]}, "map.intercept must be a finite number"),
        ({"method": "isotonic", "map": {"scores": [0, 0], "values": [0, 1]}}, "map.scores must rise"),
        ({"method": "isotonic", "map": {"scores": [0, 1], "values": [1, 0]}}, "map.values as many and never fall"),
        ({"method": "isotonic", "map": {"scores": [0, 1, 2], "values": [0, 1]}}, "map.values as many and never fall"),
        ({"method": "isotonic", "map": {"scores": 3, "values": [0, 1]}}, "map.scores must be a list of two or more"),
        ({"level": 1.5}, "level, half_width, label.range, n or num_groups has an impossible value"),
        ({"half_width": -1}, "an impossible value"),
        ({"n": 1.5}, "an impossible value"),
        ({"num_groups": 0}, "an impossible value"),
        ({"label": None}, "label.range must be a list of 2 numbers"),
        ({"label": {"range": [0, 1]}}, "label.name must be a text"),
        ({"split": ["val"]}, "split must be a text"),
        ({"half_width": float("nan")}, r"cannot be read as JSON .*; write it anew with evqa calibrate, or remove it"),
    ],
)
def test_a_wrong_file_is_one_sentence(run, tmp_path, content, told):
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(json.loads((run / "calibration.json").read_text()) | content))
    with pytest.raises(FileError, match=told) as error:
        read_calibration(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["run", "exported"])
def test_a_damaged_file_is_told_before_anything_is_scored(request, changed, place):
    folder = request.getfixturevalue(place)
    with pytest.raises(FileError, match=r"calibration.json is damaged: level must be a finite number; write it anew"):
        evqa.load(changed(folder, level="high"))
