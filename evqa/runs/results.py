"""The results of a run in the terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from evqa.metrics.names import PRINTED, PRINTED_LOSS
from evqa.scoring.records import read_record
from evqa.training.folder import RunFolder


def print_result(console: Console, folder: RunFolder) -> float | None:
    """Print the metrics of every scored split; returns what `evqa.runs.fit.run` does, where there is one."""
    objective = None
    for path in sorted((folder.path / "predictions").glob("*.json")):
        record = read_record(path)
        console.print(metrics_table(record, title=f"{path.stem}: n={record['n']}, {record['num_failed']} failed"))
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


def metrics_table(record: dict[str, Any], *, title: str) -> Table:
    """Lay out metrics with their 95 % intervals; a metric without a value says why."""
    table = Table("metric", "value", "95 % interval", title=title, title_justify="left")
    for name, label in (PRINTED | {"loss": PRINTED_LOSS}).items():
        metric = record["metrics"].get(name)
        if metric is None:
            continue
        if metric["value"] is None:
            table.add_row(label, "-", metric.get("reason") or "")
        else:
            ends = "-" if metric["low"] is None else f"{metric['low']:.4f} to {metric['high']:.4f}"
            table.add_row(label, f"{metric['value']:.4f}", ends)
    return table
