"""From the rows of a table to records: every rule about ids, labels and files, each with its sentence."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evqa.datasets.folder import MediaFolder
from evqa.datasets.tables import FileRow, FileTable
from evqa.datasets.turns import read_turns
from evqa.errors import MediaError
from evqa.files.names import is_text
from evqa.types import Failure, LabelScale, Record, Turn

ReadLabel = Callable[[str], float]  # text of a cell -> label in the annotation's scale; ValueError with a sentence
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column holds what; None where the table has no such column.

    texts: columns by the names that a prompt knows them by. paths: columns that name one file each below the media
    folder, in the record's order; without them the id names the only file. turns: see `evqa.datasets.turns`. tags:
    columns that reports slice by.
    """

    id: str
    label: str | None
    texts: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    turns: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()


def number_in(text: str, name: str) -> float:
    """Read a plain decimal number. Raises ValueError with a sentence for everything else, NaN included."""
    cell = text.strip()
    if cell.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise ValueError(f"{name} is {cell}, not a finite number")
    if not _NUMBER.fullmatch(cell):
        mend = "; decimals have a point, thousands nothing" if "," in cell else ""
        raise ValueError(f"{name} is {cell[:40]!r}, not a number{mend}" if cell else f"{name} is empty")
    return float(cell)


def scale_reader(scale: LabelScale) -> ReadLabel:
    """Read labels on a declared scale; a value outside it is refused, never rescaled by a guess."""

    def read(text: str) -> float:
        value = number_in(text, scale.name)
        if scale.low <= value <= scale.high:
            return value
        mend = ""
        if scale.range == (0.0, 1.0) and 1.0 < value <= 100.0:
            mend = "; if the column holds percent set data.label.range=[0,100]"
            mend += ", if ratings of 1 to 5 [1,5]" if value <= 5 else ""
        raise ValueError(f"{scale.name} is {text.strip()}, outside {scale.low:g}..{scale.high:g}{mend}")

    return read


def read_records(
    table: FileTable, columns: Columns, folder: MediaFolder, *, read_label: ReadLabel, needs_label: bool
) -> tuple[tuple[Record, ...], tuple[Failure, ...]]:
    """Turn rows into records; a row that breaks a rule is rejected with all its faults in one sentence.

    An id that occurs twice with the same cells is kept once; with different cells nobody can say which row is right,
    so all of them are rejected. Text is missing only where the cell is empty.
    """
    repeats = _repeats(table, columns.id)
    records, rejects = list[Record](), list[Failure]()
    for row in table.rows:
        name = row.values[columns.id]
        repeat = repeats.get(row.number)
        record, faults = (None, [repeat]) if repeat else read_row(row, columns, folder, read_label, needs_label)
        if record:
            records.append(record)
        else:
            rejects.append(Failure(id=name, reason="; ".join(faults), row=row.number, table=table.path.name))
    rejects = sorted([*table.rejects, *rejects], key=lambda failure: failure.row or 0)
    return tuple(records), tuple(rejects)


def _repeats(table: FileTable, id_column: str) -> dict[int, str]:
    rows = defaultdict[str, list[FileRow]](list)
    for row in table.rows:
        if row.values[id_column].strip():
            rows[row.values[id_column]].append(row)
    reasons = dict[int, str]()
    for same in rows.values():
        if all(row.values == same[0].values for row in same):
            reasons |= {row.number: f"repeats row {same[0].number}, which is kept" for row in same[1:]}
        else:
            numbers = ", ".join(str(row.number) for row in same)
            reason = f"the Id stands in rows {numbers} with different values; none of them is used"
            reasons |= {row.number: reason for row in same}
    return reasons


def read_row(
    row: FileRow, columns: Columns, folder: MediaFolder, read_label: ReadLabel, needs_label: bool
) -> tuple[Record | None, list[str]]:
    """Turn one row into a record, or None and all its faults."""
    faults = list[str]()
    if not row.values[columns.id].strip():
        return None, [f"{columns.id} is empty"]
    label = _label(row, columns, read_label, needs_label, faults)
    paths = _paths(row, columns, folder, faults)
    texts = {name: row.values[column] for name, column in columns.texts.items() if row.values[column]}
    tags = {column: row.values[column] for column in columns.tags if row.values[column]}
    turns = _turns(row, columns.turns, faults)
    group = row.values[columns.group] or None if columns.group else None
    if not all(map(is_text, [*texts.values(), *tags.values(), *(turn.text for turn in turns), group or ""])):
        faults.append("its texts hold a byte that is not UTF-8")
    if faults:
        return None, faults
    name = row.values[columns.id]
    return Record(id=name, paths=paths, texts=texts, turns=turns, label=label, group=group, tags=tags), []


def _label(row: FileRow, columns: Columns, read_label: ReadLabel, needs_label: bool, faults: list[str]) -> float | None:
    text = row.values[columns.label] if columns.label else ""
    if not needs_label and not text:
        return None
    try:
        return read_label(text)
    except ValueError as error:
        faults.append(str(error))
        return None


def _paths(row: FileRow, columns: Columns, folder: MediaFolder, faults: list[str]) -> tuple[Path, ...]:
    """Find the record's files; a reason names its column where there are several."""
    found = list[Path]()
    for column in columns.paths or (columns.id,):
        try:
            found.append(folder.find(row.values[column]))
        except MediaError as error:
            faults.append(error.reason if len(columns.paths) < 2 else f"{column}: {error.reason}")
    return tuple(found)


def _turns(row: FileRow, column: str | None, faults: list[str]) -> tuple[Turn, ...]:
    try:
        return read_turns(row.values[column]) if column else ()
    except ValueError as error:
        faults.append(f"{column} {error}")
        return ()
