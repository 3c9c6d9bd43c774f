"""Calibration in a report: the line of every setting that is shown, over its seeds and over groups."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evqa.metrics import read_labels, read_scores
from evqa.metrics.calibration import line_estimates
from evqa.report import main
from evqa.reporting.calibration_table import calibration_blocks, calibrations
from evqa.reporting.runs import read_run
from evqa.reporting.study import pool


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("runs")
    made = [make_run(root, modal=modal, seed=seed, noise=0.2) for modal in ("v", "av") for seed in range(2)]
    constant = make_run(root, modal="a") / "predictions" / "val.csv"
    header, *rows = constant.read_text().splitlines()
    constant.write_text("\n".join([header, *(f"{row.partition(',')[0]},0.5" for row in rows)]) + "\n")
    return [*made, constant.parents[1]]


def test_a_report_has_the_lines_of_its_settings(folders, tmp_path):
    assert main([*map(str, folders), "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "report.json").read_text())["calibrations"]
    assert set(found) == {"modal=av", "modal=v", "modal=a"}
    tables = [read_scores(folder / "predictions/val.csv").values for folder in folders[2:4]]
    labels = read_labels(folders[2] / "predictions/val.targets.csv", label="ECR").values
    scores = np.array([[table[id_] for id_ in labels] for table in tables])
    ((slope, intercept),) = line_estimates([scores], np.array([*labels.values()]))
    assert found["modal=av"]["slope"]["value"] == pytest.approx(slope.value)
    assert found["modal=av"]["intercept"]["low"] == pytest.approx(intercept.low)
    row = f"| modal=av | {slope.value:.3f} | {slope.low:.3f} to {slope.high:.3f} | {intercept.value:.3f} |"
    report = (tmp_path / "report.md").read_text()
    assert row in report.split("## Calibration")[1]
    assert "| modal=a | all 120 scores are equal (0.5) | - |" in report


def test_intervals_are_over_groups_where_there_are_any_and_there_is_no_section_without_labels(folders):
    study = pool([read_run(one, split="val") for one in folders], split="val", num_resamples=60)
    items = tuple(replace(item, group=f"creator {place // 4}") for place, item in enumerate(study.items))
    grouped = replace(study, items=items)
    assert "95 % intervals over groups" in calibration_blocks(grouped, calibrations(grouped))[1].caption
    assert calibrations(grouped)["modal=av"].slope.low != calibrations(study)["modal=av"].slope.low
    assert calibration_blocks(study, calibrations(replace(study, ids=()))) == []
