"""Metrics of a run as files."""

import csv

from evqa.training.callbacks.records import MetricsFile, read_rows


def test_each_logged_step_is_a_line_and_a_resumed_run_drops_what_it_will_write_again(tmp_path):
    records = MetricsFile(tmp_path)
    for step in (9, 19, 29):
        records.log_metrics({"train/loss": step / 10, "epoch": 0}, step)
    assert read_rows(tmp_path / "metrics.jsonl") == [
        {"step": step, "train/loss": step / 10, "epoch": 0} for step in (9, 19, 29)
    ]
    records.resume_at(19)
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [9]
    assert (records.name, records.version) == ("metrics", "")


def test_a_line_that_a_kill_cut_short_is_left_out_wherever_it_stands(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_rows(path) == []
    path.write_text('{"step": 1, "a": 2.0}\n{"step": 2, "a"\n{"step": 3, "b": 1.0}\n{"st')
    assert read_rows(path) == [{"step": 1, "a": 2.0}, {"step": 3, "b": 1.0}]


def test_the_table_has_a_column_for_every_metric_in_the_order_they_came(tmp_path):
    records = MetricsFile(tmp_path)
    records.log_metrics({"train/loss": 0.5}, 1)
    records.log_metrics({"val/srocc": 0.25}, 2)
    records.finalize("success")
    rows = list(csv.reader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert rows == [["step", "train/loss", "val/srocc"], ["1", "0.5", ""], ["2", "", "0.25"]]
