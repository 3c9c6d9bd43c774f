"""The results of a run in the terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from evqa.metrics.groups import with_groups
from evqa.metrics.names import PRINTED, PRINTED_OF_WORDS
from evqa.scoring.records import read_record
from evqa.training.folder import RunFolder


def print_result(console: Console, folder: RunFolder) -> float | None:
    """Print the metrics of every scored split; returns what `evqa.runs.fit.run` does, where there is one."""
    objective = None
    for path in sorted((folder.path / "predictions").glob("*.json")):
        record = read_record(path)
        console.print(metrics_of(record, name=path.stem))
        if path.stem == "val":
            metrics = record["metrics"]
            objective = metrics["challenge" if "challenge" in metrics else "loss"]["value"]
        reasons = Counter(failure["reason"] for failure in record["failures"])
        for reason, count in reasons.most_common(5):
            console.print(f"  {count} x {reason}")
        for lack, count in list(record.get("missing", {}).items())[:5]:
            console.print(f"  {count} scored, but: {lack}")
    console.print(f"Predictions: {folder.path}/predictions")
    return objective


def metrics_of(record: dict[str, Any], *, name: str) -> Table | str:
    """Lay out metrics with their 95 % intervals, one without a value says why; a line where nothing has a label."""
    failed = f"{record['num_failed']} failed"
    if not record["n"] and (num_unlabelled := record.get("num_unlabelled", 0)):
        return f"{name}: {num_unlabelled} scored, {failed}; without labels there is nothing to compare the scores with."
    title = f"{name}: n={with_groups(record['n'], record.get('num_groups'))}, {failed}"
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
