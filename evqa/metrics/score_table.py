"""Scores and labels by id in CSV files: predictions, submissions, ensemble members, label tables.

A file of scores has exactly the columns `Id,<label>`; a table of labels may have any others beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evqa.errors import AnnotationError
from evqa.files.grid import Grid, read_grid
from evqa.files.names import listed
from evqa.files.separated import Quoting
from evqa.files.whole import write_table

ID = "Id"
GROUP = "group"  # column of a table of targets: items of one are not independent of each other


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
            f"{path}: the columns are {listed(columns)}; a file of scores has exactly 'Id' and the label's name."
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
            raise AnnotationError(f"{path}: no column '{needed}'; the file has {listed(columns)}.")
    return _table(path, rows, label=label)


def read_ids(path: Path) -> list[str]:
    """Read the ids of a table of items, for instance of a test set without labels. Raises AnnotationError."""
    ids = _ids(path)
    _check_unique(path, ids)
    return ids


def ids_of(path: Path) -> list[str]:
    """Name the items of a table, each once, in its order, whatever else is wrong with it. Raises AnnotationError."""
    ids = dict.fromkeys(id_ for id_ in _ids(path) if id_.strip())
    if not ids:
        raise AnnotationError(f"{path}: the file has column names and no ids.")
    return list(ids)


def _ids(path: Path) -> list[str]:
    grid = _grid(path)
    if ID not in grid.columns:
        raise AnnotationError(f"{path}: no column '{ID}'; the file has {listed(grid.columns)}.")
    at = grid.columns.index(ID)
    return [row.values[at] for row in grid.rows if len(row.values) > at]


def columns_of(path: Path) -> list[str]:
    """Names of the columns of a CSV or TSV file. Raises AnnotationError."""
    return list(_grid(path).columns)


def write_scores(path: Path, values: Mapping[str, float], *, label: str) -> None:
    """Write `Id,<label>` with full precision, whole or not at all. Raises FileError."""
    write_table(path, [ID, label], ([id_, repr(float(value))] for id_, value in values.items()))


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV or TSV file, every field as text. Raises AnnotationError."""
    grid = _grid(path)
    for row in grid.rows:
        if row.fault:
            raise AnnotationError(f"{path}, row {row.number}: {row.fault} (line {row.line}).")
    blank = dict.fromkeys(grid.columns, "")
    return list(grid.columns), [blank | dict(zip(grid.columns, row.values, strict=False)) for row in grid.rows]


def _grid(path: Path) -> Grid:
    """Read a table; bytes that are not UTF-8 stay, because predictions name files."""
    has_tabs = path.suffix.lower() == ".tsv"  # published with bare quotes inside fields
    quoting: Quoting = "none" if has_tabs else "rfc4180"
    grid = read_grid(path, separator="\t" if has_tabs else ",", id_column=ID, quoting=quoting, any_bytes=True)
    if not grid.columns:
        raise AnnotationError(f"{path}: the file is empty; a first line with column names is expected.")
    return grid


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
