"""Scores and labels by id in CSV files: predictions, submissions, ensemble members, label tables.

A file of scores has exactly the columns `Id,<label>`; a table of labels may have any others beside them.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evqa.errors import AnnotationError

ID = "Id"
NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Numbers by id, in the file's order; NaN where a label is unknown. `label` is the name of their column."""

    label: str
    values: Mapping[str, float]


def read_scores(path: Path) -> ScoreTable:
    """Read a prediction: exactly `Id,<label>`, every number finite, no id twice. Raises AnnotationError."""
    columns, rows = read_rows(path)
    if len(columns) != 2 or columns[0] != ID:
        raise AnnotationError(
            f"{path}: the columns are {', '.join(columns)}; a file of scores has exactly 'Id' and the label's name."
        )
    table = _table(path, rows, label=columns[1])
    bad = [id_ for id_, value in table.values.items() if not math.isfinite(value)]
    if bad:
        raise AnnotationError(f"{path}: {len(bad)} of {len(table.values)} scores are not finite: {listed(bad)}.")
    return table


def read_labels(path: Path, *, label: str) -> ScoreTable:
    """Read the column `label` of a table of items; an empty field is NaN (unknown). Raises AnnotationError."""
    columns, rows = read_rows(path)
    for needed in (ID, label):
        if needed not in columns:
            raise AnnotationError(f"{path}: no column '{needed}'; the file has {', '.join(columns)}.")
    return _table(path, rows, label=label)


def read_ids(path: Path) -> list[str]:
    """Read the ids of a table of items, for instance of a test set without labels. Raises AnnotationError."""
    columns, rows = read_rows(path)
    if ID not in columns:
        raise AnnotationError(f"{path}: no column '{ID}'; the file has {', '.join(columns)}.")
    ids = [row[ID] for row in rows]
    _check_unique(path, ids)
    return ids


def columns_of(path: Path) -> list[str]:
    """Names of the columns of a CSV or TSV file. Raises AnnotationError."""
    return read_rows(path)[0]


def write_scores(path: Path, values: Mapping[str, float], *, label: str) -> None:
    """Write `Id,<label>` with full precision, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([ID, label])
        writer.writerows([id_, repr(float(value))] for id_, value in values.items())
    partial.replace(path)


def listed(names: Iterable[str], *, shown: int = NUM_SHOWN) -> str:
    """The first few of many names: `a, b, c and 12 more`."""
    names = list(names)
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV or TSV file, every field as text. Raises AnnotationError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = _reader(path, file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{path}: cannot be read as a table ({error}).") from error
    if not columns:
        raise AnnotationError(f"{path}: the file is empty; a first line with column names is expected.")
    return columns, rows


def _reader(path: Path, lines: Iterable[str]) -> csv.DictReader[str]:
    if path.suffix.lower() == ".tsv":  # published with bare quotes inside fields
        return csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.DictReader(lines)


def _table(path: Path, rows: Sequence[dict[str, str]], *, label: str) -> ScoreTable:
    _check_unique(path, [row[ID] for row in rows])
    return ScoreTable(label=label, values=dict(_numbers(path, rows, label=label)))


def _numbers(path: Path, rows: Sequence[dict[str, str]], *, label: str) -> Iterator[tuple[str, float]]:
    for number, row in enumerate(rows, start=1):
        text = (row[label] or "").strip()
        try:
            yield row[ID], float(text) if text else math.nan
        except ValueError:
            raise AnnotationError(
                f"{path}, row {number} (Id {row[ID]}): '{label}' is '{text}', a number is expected."
            ) from None


def _check_unique(path: Path, ids: Sequence[str]) -> None:
    if not ids:
        raise AnnotationError(f"{path}: the file has column names and no rows.")
    seen: set[str] = set()
    twice = [id_ for id_ in ids if id_ in seen or seen.add(id_)]  # type: ignore[func-returns-value]
    if twice:
        raise AnnotationError(f"{path}: {len(twice)} ids occur more than once: {listed(twice)}.")
