"""A scorer over data sets beside published numbers: what is inside, what is outside, and 80 columns."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.metrics import evaluate
from evqa.reporting import published_results
from evqa.reporting.data_set_table import DataSetRow, sentences, show, write
from evqa.reporting.published_results import PublishedResult, published_result
from evqa.types import Failure


def record(n=60, *, sign=1, noise=0.5, failures=(), notes=()):
    rng = np.random.default_rng(n)
    labels = rng.uniform(0, 100, n)
    scores = sign * labels + 100 * noise * rng.normal(size=n)
    made = evaluate(scores, labels, failures=failures, num_resamples=200).to_json()
    return {**made, "part": "test", "notes": list(notes), "missing": {}, "label": {"name": "mos", "range": [0, 100]}}


def beside(here, *, srocc, plcc=None, n=60, remark=""):
    """A row beside published numbers, as far from the ends of its interval as is given."""
    ends = here["metrics"]["srocc"]
    printed = {"low": ends["low"] - 0.01, "middle": ends["value"] + 0.001, "high": ends["high"] + 0.01}[srocc]
    published = PublishedResult(system="S", source="a figure", srocc=printed, plcc=plcc, n=n, remark=remark)
    return DataSetRow(name="konvid1k", record=here, published=published)


def printed(rows):
    text = io.StringIO()
    show(rows, Console(file=text, width=80, highlight=False, markup=False))
    return text.getvalue()


@pytest.mark.parametrize(("place", "verdict"), [("low", "outside"), ("middle", "inside"), ("high", "outside")])
def test_a_published_number_lies_inside_or_outside_the_interval(place, verdict):
    row = beside(record(), srocc=place)
    here = row.record["metrics"]["srocc"]
    assert row.verdict("srocc") == verdict
    assert row.verdict("plcc") is None
    (said,) = [line for line in sentences([row]) if "published SROCC" in line]
    number = row.published.srocc
    assert said.startswith(f"konvid1k: published SROCC {number:.3f} lies {verdict} [")
    assert said.endswith(f"; here {here['value']:.3f}, {here['value'] - number:+.3f}.")
    assert f"{number:.3f} {verdict}" in printed([row])


def test_other_items_and_marks_are_said_and_no_paired_test_is_claimed():
    said = " ".join(sentences([beside(record(), srocc="low", n=1200, remark="marked there for overlap")]))
    assert "konvid1k: the published numbers are marked there for overlap." in said
    assert "konvid1k: the published list has 1200 items, here 60 are scored" in said
    assert "no paired test is possible" in said
    assert "S: a figure." in said
    unknown = " ".join(sentences([beside(record(), srocc="low", n=None)]))
    assert "of which items the published numbers are is not known" in unknown
    same = " ".join(sentences([beside(record(), srocc="low")]))
    assert "items, here" not in same
    alone = " ".join(sentences([DataSetRow(name="konvid1k", record=record())]))
    assert "ublished" not in alone


def test_the_table_fits_80_columns_whatever_the_numbers():
    failed = [Failure(id="a.mp4", reason="the file is empty")]
    rows = [
        beside(record(5000, sign=-1, noise=0.1, failures=failed), srocc="low", plcc=-0.123),
        DataSetRow(name="lsvq_1080p", record=record(12_345)),
        DataSetRow(name="a_data_set_with_a_long_name", record=record(60, notes=["a doubt."])),
        DataSetRow(name="gone", problem="/data/gone.csv: no such table."),
    ]
    text = printed(rows)
    assert max(map(len, text.splitlines())) <= 80
    few = record(5, noise=2)
    few["metrics"]["srocc"] |= {"low": -1.0, "high": 1.0}
    assert "[-1.00, 1.00]" in printed([DataSetRow(name="few", record=few)])
    grouped = printed([DataSetRow(name="lsvq_1080p", record=record(12_345) | {"num_groups": 4321})])
    assert "in 4321" in grouped
    assert max(map(len, grouped.splitlines())) <= 80
    cells = [line.partition(" ")[0] for line in text.splitlines()]
    assert "a_data_set_with_a_long_name" in "".join(cells)  # folded, not cut
    words = " ".join(text.split())
    for piece in ("-0.123 outside", "[-.9", "12345", "1 failed", "gone - not scored", "no increasing curve"):
        assert piece in words, piece
    assert "konvid1k: 1 failed, the first: a.mp4: the file is empty." in words
    assert "gone was not scored: /data/gone.csv: no such table." in words
    assert "a_data_set_with_a_long_name: a doubt." in words


def test_what_is_written_has_every_number_and_no_nan(tmp_path):
    rows = [beside(record(), srocc="high"), DataSetRow(name="gone", problem="no such table.")]
    write(rows, tmp_path, about={"scorer": "x"})
    first, gone = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    metrics, extras = rows[0].record["metrics"], rows[0].record["extras"]
    for name, number in (metrics | extras).items():
        if name in first:
            assert float(first[name]) == number["value"]
    assert float(first["krocc_high"]) == metrics["krocc"]["high"]
    assert (first["published_srocc_lies"], first["published_plcc"]) == ("outside", "")
    assert [first[key] for key in ("data", "part", "n", "num_failed", "label")] == [
        "konvid1k",
        "test",
        "60",
        "0",
        "mos",
    ]
    assert set(gone.values()) == {"gone", "no such table.", ""}
    content = json.loads((tmp_path / "table.json").read_text())
    assert content["scorer"] == "x"
    assert content["rows"][0]["published"]["source"] == "a figure"
    assert content["rows"][1]["srocc"] is None


def test_published_results_are_found_by_name():
    found = published_result("vqa2_ugc", "konvid1k")
    assert (found.system, found.srocc, found.plcc, found.n) == ("VQA²-UGC-Scorer", 0.894, 0.884, 1200)
    assert "figure" in found.source
    assert found == published_result("vqa2_ugc", "vqa2_konvid1k")
    assert "overlap" in published_result("vqa2_ugc", "ytugc").remark
    assert published_result("vqa2_ugc", "synthetic") is None
    assert published_result("runs/default/x", "konvid1k") is None


def test_every_published_result_can_be_read_and_has_names_of_the_configuration():
    content = published_results.yaml.safe_load(published_results.FILE.read_text(encoding="utf-8"))
    groups = group_folders(conf_folder())
    assert content.keys() <= set(group_options(groups["scorer"]))
    for scorer, of_scorer in content.items():
        assert of_scorer["data"].keys() <= set(group_options(groups["data"]))
        for data in of_scorer["data"]:
            found = published_result(scorer, data)
            assert 0 < found.srocc < 1
            assert 0 < found.plcc < 1
