"""The runs below a folder, as they lie there: nothing is written, and what comes from them is not trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from evqa.config.environment import hidden
from evqa.config.paths import run_folders
from evqa.errors import EvqaError, RunError
from evqa.files.names import shown, shown_lines
from evqa.reporting.runs import Item, Run, read_run
from evqa.runs.item_records import item_records
from evqa.runs.kept import KeptRun, kept_run, read_metrics
from evqa.types import Record
from evqa.web.asked import REFUSALS, sentences_of

SPLIT = "val"
NUM_WORST = 12
DAMAGE = (*REFUSALS, OverflowError, RecursionError)  # a number of a thousand digits, a thousand brackets
DAMAGED_RANK = (True, math.inf, 0.0)  # behind all others


class RunRow(NamedTuple):
    """A run of the list. kept: what is known of it. ends: of the score's interval. problem: what is wrong with it."""

    name: str
    kept: KeptRun | None = None
    ends: tuple[float, float] | None = None
    problem: str = ""


class WorstItem(NamedTuple):
    """An item whose score is far from its label. record: None where the run's tables do not name it."""

    id: str
    item: Item
    score: float
    record: Record | None

    @property
    def error(self) -> float:
        """Score less label."""
        return self.score - self.item.label


@dataclass(frozen=True)
class RunFolders:
    """A folder of runs, or a run. Runs are named by their places below it."""

    root: Path

    def find(self) -> dict[str, Path]:
        """Return the folders of the runs by name; raises OSError."""
        return {self._name(path): path for path in run_folders(self.root)}

    def at(self, name: str) -> Path:
        """Return the folder of a run. Raises RunError where there is none of this name."""
        found = self.find()
        if name not in found:
            raise RunError(f"{name}: there is no such run. Choose one of the list.")
        return found[name]

    def rows(self) -> list[RunRow]:
        """List the runs, the best of each experiment first."""
        rows = [self._row(name, path) for name, path in self.find().items()]
        return sorted(rows, key=lambda row: (experiment(row.name), row.kept.rank if row.kept else DAMAGED_RANK))

    def said(self, sentence: object) -> str:
        """Write a sentence with places below the folder, without values of the environment."""
        return shown_lines(hidden(sentence).replace(f"{self.root}/", ""))

    def _name(self, path: Path) -> str:
        return shown(self.root.resolve().name if path == self.root else path.relative_to(self.root).as_posix())

    def _row(self, name: str, path: Path) -> RunRow:
        try:
            kept = kept_run(path)
            problem = read_run(path, split=SPLIT).problem
            ends = interval(read_metrics(path, SPLIT), "loss" if kept.is_loss else "challenge")
        except DAMAGE as error:
            return RunRow(name, problem=self.said(_sentence(error)))
        return RunRow(name, kept, ends, self.said(problem) if problem and not kept.is_loss else "")


def experiment(name: str) -> str:
    """Return the folder that a run lies in, empty for the root."""
    return name.rpartition("/")[0]


def interval(record: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Return the ends of a metric's 95 % interval, None where it has none."""
    metric = record.get("metrics", {}).get(name)
    ends = [metric.get("low"), metric.get("high")] if isinstance(metric, dict) else []
    numbers = [float(end) for end in ends if isinstance(end, int | float) and math.isfinite(end)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _sentence(error: Exception) -> str:
    return " ".join(sentences_of(error)) if isinstance(error, REFUSALS) else str(error)


def worst_items(run: Run) -> tuple[list[WorstItem], str]:
    """Return the items with the largest errors, and why their files are not known, else empty."""
    scores = run.scores or {}
    known = [id_ for id_, item in run.items.items() if id_ in scores and math.isfinite(scores[id_] - item.label)]
    known.sort(key=lambda id_: -abs(scores[id_] - run.items[id_].label))
    ids = known[:NUM_WORST]
    try:
        records, why = item_records(run.path, ids, split=SPLIT).records if ids else {}, ""
    except (EvqaError, OSError) as error:
        records, why = {}, f"The run's data cannot be read: {str(error).splitlines()[0]}"
    return [WorstItem(id_, run.items[id_], scores[id_], records.get(id_)) for id_ in ids], why


def read_whole(path: Path) -> Run:
    """Read a run with its scores and labels. Raises RunError or FileError."""
    return read_run(path, split=SPLIT)


def experiments(names: Sequence[str]) -> list[str]:
    """Return the folders that hold runs, each once."""
    return list(dict.fromkeys(map(experiment, names)))
