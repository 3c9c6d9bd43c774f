"""The results of a run in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from evqa.config.metric_names import PRINTED, PRINTED_OF_WORDS, with_groups
from evqa.files.stored import read_objects
from evqa.reporting.chosen import chosen
from evqa.reporting.runs import look_of
from evqa.runs.kept import without_labels
from evqa.scoring.records import read_record
from evqa.training.folder import RunFolder


def print_result(console: Console, folder: RunFolder, *, config: Mapping[str, Any]) -> float | None:
    """Print the metrics of every scored split; returns what `evqa.runs.fit.run` does, where there is one.

    config: the run's, resolved.
    """
    objective, untrained = None, list[dict[str, Any]]()
    for path in sorted((folder.path / "predictions").glob("*.json")):
        record = read_record(path)
        console.print(metrics_of(record, name=path.stem))
        if path.stem == "val":
            metrics = record["metrics"]
            objective = metrics[_main(metrics)]["value"]
        _print_reasons(console, record["failures"])
        for lack, count in list(record.get("missing", {}).items())[:5]:
            console.print(f"  {count} scored, but: {lack}")
        print_choices(console, folder, record, name=path.stem, config=config)
        untrained = record.get("train_failures", [])
    if untrained:
        console.print(f"train: {len(untrained)} failed")
        _print_reasons(console, untrained)
    console.print(f"Predictions: {folder.path}/predictions")
    return objective


def _print_reasons(console: Console, failures: Sequence[Mapping[str, Any]]) -> None:
    reasons = Counter(failure["reason"] for failure in failures)
    for reason, count in reasons.most_common(5):
        console.print(f"  {count} x {reason}")


def print_choices(
    console: Console, folder: RunFolder, record: Mapping[str, Any], *, name: str, config: Mapping[str, Any]
) -> None:
    """Print what makes the scores of predictions/NAME too good."""
    rows = folder.path / "metrics.jsonl"
    history = read_objects(rows) if rows.exists() else []
    for said in choices(record, name=name, config=config, history=history):
        console.print(f"  {said}")


def choices(
    record: Mapping[str, Any], *, name: str, config: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say what makes the scores of predictions/NAME too good: a choice of the checkpoint on these very items.

    And, of a test split, that it was looked at before.
    """
    said = []
    if (look := look_of(record)) > 1:
        said.append(f"look {look} at the test split: what was chosen after the first is chosen on it")
    main = _main(record["metrics"])
    checkpoint = chosen(name, record=record, config=config, history=history, metric=main)
    if checkpoint is not None:
        last = f"{(PRINTED | PRINTED_OF_WORDS)[main]}: {checkpoint.last:.4f}"
        said.append(f"{checkpoint.place}, chosen on these items; the last one's {last}")
    return said


def _main(metrics: Mapping[str, Any]) -> str:
    """The metric that a run is judged by: of scores the challenge's, of answers their loss."""
    return "challenge" if "challenge" in metrics else "loss"


def metrics_of(record: dict[str, Any], *, name: str) -> Table | str:
    """Lay out metrics with their 95 % intervals, one without a value says why; a line where nothing has a label."""
    if said := without_labels(record):
        return f"{name}: {said}."
    title = f"{name}: n={with_groups(record['n'], record.get('num_groups'))}, {record['num_failed']} failed"
    table = Table("metric", "value", "95 % interval", title=title, title_justify="left")
    for metric_name, label in (PRINTED | PRINTED_OF_WORDS).items():
        metric = record["metrics"].get(metric_name)
        if metric is None:
            continue
        if metric["value"] is None:
            table.add_row(label, "-", metric.get("reason") or "")
        else:
            ends = "-" if metric["low"] is None else f"{metric['low']:.4f} to {metric['high']:.4f}"
            table.add_row(label, f"{metric['value']:.4f}", ends)
    return table
