"""The runs below a folder, as they lie there: nothing is written, and what comes from them is not trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from evqa.config.environment import hidden
from evqa.config.paths import run_folders
from evqa.config.reading import read_yaml
from evqa.errors import AnnotationError, EvqaError, FileError, RunError
from evqa.files.names import shown, shown_lines
from evqa.reporting.runs import Item, Run, check_predictions, predicted_splits, read_run
from evqa.runs.item_records import item_records
from evqa.runs.kept import KeptRun, kept_run, read_metrics, without_labels
from evqa.types import Record
from evqa.web.asked import REFUSALS, sentences_of

VALIDATION = "val"
NUM_WORST = 12
DAMAGE = (*REFUSALS, OverflowError, RecursionError)  # a number of a thousand digits, a thousand brackets
DAMAGED_RANK = (True, math.inf, 0.0)  # behind all others
Named = Sequence[tuple[str, Path]]


class RunRow(NamedTuple):
    """A run of the list. kept: what is known of it. ends: of the score's interval. problem: why it has no score."""

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
        return {self.name_of(path): path for path in run_folders(self.root)}

    def at(self, name: str) -> Path:
        """Return the folder of a run. Raises RunError where there is none of this name."""
        found = self.find()
        if name not in found:
            raise RunError(f"{name}: there is no such run. Choose one of the list.")
        return found[name]

    def splits(self) -> list[str]:
        """Return the splits that runs have predictions for, validation first; a name of odd letters is none of evqa."""
        found = {split for path in self.find().values() for split in predicted_splits(path) if split == shown(split)}
        return sorted(found or {VALIDATION}, key=lambda split: (split != VALIDATION, split))

    def check_split(self, split: str) -> None:
        """Raise RunError where no run has predictions for the split."""
        if split not in (splits := self.splits()):
            raise RunError(f"{split}: no run has predictions for this split. Choose one of {', '.join(splits)}.")

    def rows(self, split: str, *, watch: Callable[[Named], Iterable[tuple[str, Path]]] = iter) -> list[RunRow]:
        """List the runs, the best of each experiment first. watch: is given all, hands on those that are to be read.

        Raises RunError where no run has predictions for the split.
        """
        self.check_split(split)
        rows = [self._row(name, path, split) for name, path in watch(list(self.find().items()))]
        return sorted(rows, key=lambda row: (experiment(row.name), row.kept.rank if row.kept else DAMAGED_RANK))

    def read(self, name: str, split: str) -> Run:
        """Read a run with its scores and labels of a split. Raises RunError or FileError."""
        self.check_split(split)
        return read_run(self.at(name), split=split)

    def said(self, sentence: object) -> str:
        """Write a sentence with places below the folder, without values of the environment."""
        return shown_lines(hidden(sentence).replace(f"{self.root}/", ""))

    def name_of(self, path: Path) -> str:
        """Name a folder by its place below this one, without letters that steer."""
        return shown(self.root.resolve().name if path == self.root else path.relative_to(self.root).as_posix())

    def _row(self, name: str, path: Path, split: str) -> RunRow:
        """Read what a list needs; the tables of scores, which take a while, are not read."""
        try:
            read_yaml(path / "config.yaml", kind=dict)
            kept, record = kept_run(path, split=split), read_metrics(path, split)
            problem = ("" if kept.is_loss else _problem(path, split)) or without_labels(record) or ""
            ends = interval(record, "loss" if kept.is_loss else "challenge")
        except DAMAGE as error:
            return RunRow(name, problem=self.said(_sentence(error)))
        return RunRow(name, kept, ends, self.said(problem))


def experiment(name: str) -> str:
    """Return the folder that a run lies in, empty for the root."""
    return name.rpartition("/")[0]


def interval(record: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Return the ends of a metric's 95 % interval, None where it has none."""
    metric = record.get("metrics", {}).get(name)
    ends = [metric.get("low"), metric.get("high")] if isinstance(metric, dict) else []
    numbers = [float(end) for end in ends if isinstance(end, int | float) and math.isfinite(end)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _problem(path: Path, split: str) -> str:
    try:
        check_predictions(path, split=split)
    except (AnnotationError, FileError) as error:
        return str(error)
    return ""


def _sentence(error: Exception) -> str:
    return " ".join(sentences_of(error)) if isinstance(error, REFUSALS) else str(error)


def worst_items(run: Run, *, split: str) -> tuple[list[WorstItem], str]:
    """Return the items with the largest errors, and why their files are not known, else empty."""
    scores = run.scores or {}
    known = [id_ for id_, item in run.items.items() if id_ in scores and math.isfinite(scores[id_] - item.label)]
    known.sort(key=lambda id_: -abs(scores[id_] - run.items[id_].label))
    ids = known[:NUM_WORST]
    try:
        records, why = item_records(run.path, ids, split=split).records if ids else {}, ""
    except (EvqaError, OSError) as error:
        records, why = {}, f"The run's data cannot be read: {str(error).splitlines()[0]}"
    return [WorstItem(id_, run.items[id_], scores[id_], records.get(id_)) for id_ in ids], why


def experiments(names: Sequence[str]) -> list[str]:
    """Return the folders that hold runs, each once."""
    return list(dict.fromkeys(map(experiment, names)))
