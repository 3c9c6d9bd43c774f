"""What is written of a scored split."""

import csv
import json
from pathlib import Path

import pytest

from evqa.metrics import evaluate
from evqa.runs.results import metrics_of
from evqa.scoring.files import write_predictions
from evqa.scoring.score import Score
from evqa.training.folder import RunFolder
from evqa.types import LabelScale, Record

GROUPS = ["Ann", "Ann", None, "content:/x/y.mp4", "content:/x/y.mp4", "Bea", "Bea", "Bea"]


def written(folder, groups):
    """Write eight scores; the record and the rows of the targets."""
    (folder / "predictions").mkdir(parents=True)
    records = [
        Record(id=f"v{place}", paths=(Path("x"),), label=place / 7, group=group, tags={"codec": "h264"})
        for place, group in enumerate(groups)
    ]
    scores = [
        Score(id=one.id, value=(one.label or 0) ** 2 + 0.1 * (place % 2), label=one.label)
        for place, one in enumerate(records)
    ]
    write_predictions(
        RunFolder(folder), "val", scores, records=records, rejects=(), scale=LabelScale(), about={}, facts={}
    )
    record = json.loads((folder / "predictions/val.json").read_text())
    return record, list(csv.DictReader((folder / "predictions/val.targets.csv").read_text().splitlines())), scores


def test_groups_travel_with_the_targets_and_are_drawn_whole(tmp_path):
    record, rows, scores = written(tmp_path / "grouped", GROUPS)
    assert list(rows[0])[:3] == ["Id", "ECR", "group"]
    names = ["Ann", "Ann", "", "copies of v3", "copies of v3", "Bea", "Bea", "Bea"]
    assert [row["group"] for row in rows] == names
    known = evaluate([one.value for one in scores], [one.label for one in scores], groups=names)
    assert record["metrics"] == json.loads(json.dumps(known.to_json()["metrics"]))
    assert (record["n"], record["num_groups"], record["interval"]["resampled"]) == (8, 4, "groups")
    assert metrics_of(record, name="val").title == "val: n=8 in 4 groups, 0 failed"


def test_without_groups_nothing_is_said_of_them(tmp_path):
    record, rows, _ = written(tmp_path / "plain", [None] * 8)
    assert "group" not in rows[0]
    assert (record["num_groups"], record["interval"]["resampled"]) == (None, "items")
    assert metrics_of(record, name="val").title == "val: n=8, 0 failed"


@pytest.mark.parametrize("groups", [GROUPS, [None] * 8])
def test_scores_do_not_depend_on_groups(tmp_path, groups):
    _, _, scores = written(tmp_path / "run", groups)
    lines = (tmp_path / "run/predictions/val.csv").read_text().splitlines()
    assert lines == ["Id,ECR", *(f"{one.id},{one.value!r}" for one in scores)]
