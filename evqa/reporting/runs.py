"""Runs as they lie on disk, finished or not: settings, scores, labels, history.

# N items
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evqa.config.paths import is_unfinished, run_folders
from evqa.config.reading import read_yaml
from evqa.errors import AnnotationError, FileError, RunError
from evqa.files.grid import read_text
from evqa.files.names import shown
from evqa.files.stored import check_complete, read_object, read_objects
from evqa.metrics.score_table import GROUP, ID, ScoreTable, read_labels, read_rows, read_scores

FACTS = ("duration", "has_audio", "title_chars", "description_chars")  # columns of targets; further ones are tags


@dataclass(frozen=True, kw_only=True)
class Item:
    """What is known about one item beside its scores; None where it is not known.

    group: items of one are not independent of each other. tags: of data.tag_columns. row: the position in the run's
    own file of targets, 0 to 1, so that those of folds agree.
    """

    label: float = math.nan
    duration: float | None = None
    has_audio: bool | None = None
    title_chars: int | None = None
    description_chars: int | None = None
    group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    row: float | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder.

    config: resolved, nested. overrides: as given on the command line. scores: by id, in the label's scale; None where
    the split is not predicted (`problem` says why). items: from the targets file beside the scores; may be empty.
    record: the content of predictions/<split>.json. history: lines of metrics.jsonl.
    """

    path: Path
    name: str
    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    label: str | None = None
    scores: Mapping[str, float] | None = None
    items: Mapping[str, Item]
    record: Mapping[str, Any]
    problem: str | None = None

    @property
    def seed(self) -> str:
        """The run's seed; '-' where the configuration names none."""
        return str(self.config.get("seed", "-"))


class FoundRuns(NamedTuple):
    """Run folders, and sentences about places that hold none."""

    folders: list[Path]
    left_out: list[str]


def find_runs(paths: Sequence[Path]) -> FoundRuns:
    """Find the run folders among and below the given ones, each once, in a stable order.

    Among several places, as a shell makes them of a pattern, some may hold no run. Raises RunError where none does.
    """
    found: dict[Path, Path] = {}
    left_out = []
    for path in paths:
        if not path.exists():
            raise RunError(f"{path}: not a folder. Give run folders (runs/<experiment>/<name>) or folders of them.")
        below = list(run_folders(path)) if path.is_dir() else []
        found.update({folder.resolve(): folder for folder in below})
        if not below:
            kind = "no run in it (a run is a folder with a config.yaml)" if path.is_dir() else "not a folder"
            left_out.append(f"{path}: {kind}; it is left out.")
    if not found:
        said = " ".join(left_out).replace("; it is left out", "")
        raise RunError(f"{said} Give run folders (runs/<experiment>/<name>) or folders of them.")
    return FoundRuns(list(found.values()), left_out)


Targets = dict[tuple[str, str], dict[str, Item]]  # by the text of their file and the name of the label


def read_run(path: Path, *, split: str, known: Targets | None = None) -> Run:
    """Read what there is; an unfinished run has no scores and a `problem`.

    known: targets of other runs, which those of the same data share; what is read is added.
    Raises RunError or FileError for a damaged config.yaml.
    """
    table, items, record, history, problem = None, dict[str, Item](), dict[str, Any](), list[dict[str, Any]](), None
    try:
        history = _history(path)
        table, items, record = _predictions(path, split=split, known={} if known is None else known)
    except (AnnotationError, FileError) as error:
        problem = str(error)
    return Run(
        path=path,
        name=shown("/".join(path.resolve().parts[-2:])),
        config=read_yaml(path / "config.yaml", kind=dict),
        overrides=_overrides(path / "overrides.yaml"),
        history=tuple(history),
        label=table.label if table else None,
        scores=table.values if table else None,
        items=items,
        record=record,
        problem=problem,
    )


def _history(run: Path) -> list[dict[str, Any]]:
    return read_objects(run / "metrics.jsonl") if (run / "metrics.jsonl").exists() else []


def predicted_splits(run: Path) -> list[str]:
    """Return the splits that a run has predictions for, finished or not."""
    files = (run / "predictions").glob("*.csv")
    return sorted(path.stem for path in files if not path.name.endswith(".targets.csv"))


def check_predictions(run: Path, *, split: str) -> None:
    """Look for the tables of a split, and for their ends, without reading their rows.

    Raises AnnotationError or FileError where one is missing or cut short.
    """
    if is_unfinished(run) or not (run / "predictions" / f"{split}.csv").is_file():
        raise AnnotationError(_missing(run, split=split))
    for kind in ("csv", "targets.csv"):
        if (one := run / "predictions" / f"{split}.{kind}").exists():
            check_complete(one)


def _predictions(run: Path, *, split: str, known: Targets) -> tuple[ScoreTable, dict[str, Item], dict[str, Any]]:
    """Scores, targets and record of a split. Raises AnnotationError or FileError where one is missing or not whole."""
    file, targets, about = (run / "predictions" / f"{split}.{kind}" for kind in ("csv", "targets.csv", "json"))
    check_predictions(run, split=split)
    record = read_object(about) if about.exists() else {}
    table = read_scores(file)
    items = _shared_items(targets, label=table.label, known=known)
    num_labels, counted = sum(not math.isnan(item.label) for item in items.values()), record.get("n")
    if items and isinstance(counted, int) and num_labels < counted:
        raise FileError(targets, f"is not complete: it has {num_labels} of the {counted} labels")
    return table, items, record


def look_of(record: Mapping[str, Any]) -> int:
    """Return which look at its test split a run's scores are; 1 of other splits."""
    look = record.get("look")
    return look if isinstance(look, int) else 1


def with_labels(run: Run, path: Path) -> Run:
    """The run with labels from another table in place of its own. Raises AnnotationError."""
    if run.label is None:
        return run
    labels = read_labels(path, label=run.label).values
    known = {id_: run.items.get(id_, Item()) for id_ in labels}
    items = {id_: Item(**{**vars(item), "label": labels[id_]}) for id_, item in known.items()}
    return Run(**{**vars(run), "items": items})


def _overrides(path: Path) -> tuple[str, ...]:
    return tuple(map(str, read_yaml(path, kind=list))) if path.exists() else ()


def _missing(run: Path, *, split: str) -> str:
    """Say why a run is not ranked: what an unfinished one has scored are not the scores of its end."""
    steps = [row["step"] for row in _history(run) if isinstance(row.get("step"), int)]
    reached = f"stopped or still running at step {max(steps)}" if steps else "nothing logged yet"
    scored = predicted_splits(run)
    if split in scored:
        return f"the run is not finished ({reached}); its predictions/{split}.csv is left out"
    has = f"; it has {', '.join(scored)}" if scored else ""
    return f"no predictions/{split}.csv{has}" + (f" ({reached})" if is_unfinished(run) else "")


def _shared_items(path: Path, *, label: str, known: Targets) -> dict[str, Item]:
    if not path.is_file():
        return {}
    key = read_text(path, any_bytes=True), label
    if key not in known:
        known[key] = _items(path, label=label)
    return known[key]


def _items(path: Path, *, label: str) -> dict[str, Item]:
    columns, rows = read_rows(path)
    rows = [row for row in rows if row.get(ID)]
    if ID not in columns or label not in columns:
        raise AnnotationError(f"{path}: columns '{ID}' and '{label}' are expected; the file has {', '.join(columns)}.")
    tags = [name for name in columns if name not in (ID, label, GROUP, *FACTS)]
    return {
        row[ID]: Item(
            label=math.nan if (number := _number(row[label])) is None else number,
            duration=_number(row.get("duration")),
            has_audio=_truth(row.get("has_audio")),
            title_chars=_count(row.get("title_chars")),
            description_chars=_count(row.get("description_chars")),
            group=row.get(GROUP) or None,
            tags={name: row[name] for name in tags if row.get(name)},
            row=place / len(rows),
        )
        for place, row in enumerate(rows)
    }


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _count(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None or math.isnan(number) else int(number)


def _truth(text: str | None) -> bool | None:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get((text or "").lower())
