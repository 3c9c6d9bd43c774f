"""One table whose rows belong to several splits, as a column says: LSVQ publishes its train and test videos so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from evqa.datasets.tables import FileTable
from evqa.errors import AnnotationError
from evqa.files.names import listed


def divide(table: FileTable, column: str, values: Mapping[str, str]) -> dict[str, FileTable]:
    """Return the rows of each split; `values` names the cell that marks each.

    Rows with other cells are left out, with a note; rows that do not have the form of the table stay with the first.

    Raises:
        AnnotationError: there is no such column, or no row of one of the splits.
    """
    table.require(column)
    counts = Counter(row.values[column] for row in table.rows)
    found = listed([f"{cell!r} ({count} rows)" for cell, count in counts.most_common()], shown=5)
    for split, value in values.items():
        if not counts[value]:
            raise AnnotationError(
                f"{table.path}: no row has {column}={value!r} (data.{split}_value); there are {found}."
            )
    parts = {
        split: replace(
            table, rows=tuple(row for row in table.rows if row.values[column] == value), rejects=(), notes=()
        )
        for split, value in values.items()
    }
    num_left = len(table.rows) - sum(len(part.rows) for part in parts.values())
    note = (
        f"{table.path.name}: {num_left} rows are left out: of {column} ({found}) only {', '.join(values.values())}",
    )
    first = next(iter(parts))
    notes = (*table.notes, *(note if num_left else ()))
    return parts | {first: replace(parts[first], rejects=table.rejects, notes=notes)}
