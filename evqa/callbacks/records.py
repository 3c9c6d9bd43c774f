"""Metrics of a run as files: one JSON object a logged step, and a table at the end. Always on, beside W&B."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger


class MetricsFile(Logger):
    """Append to `metrics.jsonl`; after a resume the lines that will be written again are dropped."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "metrics.jsonl"

    @property
    def name(self) -> str:
        """Lightning asks for a name."""
        return "metrics"

    @property
    def version(self) -> str:
        """Lightning asks for a version."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration is in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one line."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    @rank_zero_only
    def resume_at(self, step: int) -> None:
        """Drop the lines from `step` on, which an interrupted life wrote after its last checkpoint."""
        rows = [row for row in read_rows(self.path) if row["step"] < step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write metrics.csv with one column a metric."""
        rows = read_rows(self.path)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with self.path.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl; a last line that a kill cut short is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
