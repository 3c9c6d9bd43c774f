"""Metrics of a run as files: one JSON object a logged step, and a table at the end. W&B gets the same rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from evqa.errors import FileError
from evqa.files.regular import why
from evqa.files.whole import whole_text, write_whole

Row = dict[str, Any]


class MetricsFile(Logger):
    """Append to `metrics.jsonl`, which holds what an undisturbed run would have written, each step once.

    mirror: called with the number of each row and the row, as soon as it is written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "metrics.jsonl"
        self.mirror: Callable[[int, Row], None] | None = None
        self._num_rows = 0
        self._last = ""

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
        """Write one line; a line that a checkpoint had written early is not written again.

        Raises:
            FileError: the file cannot be written, e.g. the disk is full.
        """
        row = {"step": step, **metrics}
        line = json.dumps(row) + "\n"
        if line == self._last:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise FileError(self.path, why(error, "written")) from error
        self._last = line
        if self.mirror is not None:
            self.mirror(self._num_rows, row)
        self._num_rows += 1

    @rank_zero_only
    def resume_at(self, step: int) -> None:
        """Drop the lines from `step` on, which a life wrote after the checkpoint that it left; 0 begins anew."""
        rows = read_rows(self.path)
        kept = [row for row in rows if row["step"] < step]
        self._num_rows = len(kept)
        content = "".join(json.dumps(row) + "\n" for row in kept)
        if self.path.exists() and self.path.read_bytes() != content.encode():
            write_whole(self.path, content)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write metrics.csv with one column a metric."""
        rows = read_rows(self.path)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with whole_text(self.path.with_suffix(".csv")) as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Read metrics.jsonl; a line that is none, such as a last one that a kill cut short, is left out."""
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
