"""Read CSV, TSV, JSON and MATLAB tables exactly: every cell stays the text it was, every bad row becomes a sentence.

pandas is avoided on purpose: it turns real titles such as "None", "NA" or "null" into missing values and reads ids
with leading zeros as numbers.
"""

from __future__ import annotations

import difflib
import io
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from evqa.datasets.matlab import read_mat
from evqa.errors import AnnotationError
from evqa.files.grid import read_grid, read_text
from evqa.files.json_list import read_list
from evqa.files.names import is_text, listed
from evqa.files.separated import SEPARATORS, Quoting
from evqa.types import Failure

Format = Literal["csv", "tsv", "jsonl", "json", "mat"]
_DECIMAL_COMMA = re.compile(r"\s*[+-]?(\d+),(\d+)\s*", re.ASCII)
CONVERSATIONS = "conversations"  # a column of the lists that LLaVA and VQA² publish
_LLAVA = f"lists as LLaVA and VQA² publish them are read by data=llava, or with data.turns_column={CONVERSATIONS}"
MOST_EMPTY = 100  # empty cells for each filled one that a JSONL table may have; they need memory
NUM_COMPARED = 1000  # names among which the nearest is searched for
FORMATS: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
WHOLE: dict[str, Format] = {".json": "json", ".mat": "mat"}  # of published labels; not read row by row


@dataclass(frozen=True)
class FileRow:
    """One row: `number` counts data rows from 1, `line` is the line of the file where it begins."""

    number: int
    line: int
    values: dict[str, str]


@dataclass(frozen=True)
class FileTable:
    """A table as it was read; `rejects` are rows that do not have the form of the table, `notes` are worth telling."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[FileRow, ...]
    rejects: tuple[Failure, ...]
    notes: tuple[str, ...] = ()

    def ids(self, column: str) -> tuple[str, ...]:
        """Every id that the table names, once, in its order; those of rejected rows too, where they reach that far."""
        named = [(row.number, row.values[column]) for row in self.rows]
        named += [(reject.row or 0, reject.id) for reject in self.rejects]
        return tuple(dict.fromkeys(name for _, name in sorted(named) if name.strip()))

    def with_decimal_points(self, column: str, *, high: float = math.inf) -> FileTable:
        """Read `0,5` as 0.5 where the whole column leaves no doubt: no points, and not all could be thousands.

        high: upper end of the column's scale; `1,234` is no thousand above it.
        """
        cells = [row.values.get(column, "") for row in self.rows]
        found = [match for match in map(_DECIMAL_COMMA.fullmatch, cells) if match]
        may_be_thousands = all(_is_thousand(match[1], match[2], high) for match in found)
        if any("." in cell for cell in cells) or may_be_thousands:
            return self
        note = f"{self.path.name}: {column} is written with decimal commas ({found[0][0].strip()}); read as points."
        rows = (
            replace(row, values=row.values | {column: _with_point(row.values.get(column, ""))}) for row in self.rows
        )
        return replace(self, rows=tuple(rows), notes=(*self.notes, note))

    def require_labels(self, column: str, *, key: str, instead: str) -> None:
        """Raise AnnotationError where a validation table has no label at all, as the challenge's has none.

        key: the setting that names the table. instead: that of a table which may lack them.
        """
        if self.rows and not any(row.values.get(column, "").strip() for row in self.rows):
            what = "no labels in column" if column in self.columns else "no column"
            near = "" if column in self.columns else nearest_of(column, self.columns)
            raise AnnotationError(
                f"{self.path}: {what} {column!r}{near}, and {key} needs labels to choose a checkpoint by. A table "
                f"without them is {instead}={self.path}: it is scored when the run ends, and data.val_fraction of the "
                "training table is held out to choose by."
            )

    def require(self, *names: str, keys: Mapping[str, str] | None = None) -> None:
        """Raise AnnotationError, with the nearest names, unless all columns exist.

        keys: the setting that says the name of a column, by the name.
        """
        if lacks := self.lacks(names, keys=keys):
            raise AnnotationError(lacks)

    def lacks(self, names: Iterable[str], *, keys: Mapping[str, str] | None = None) -> str | None:
        """Say which of these columns do not exist, with the nearest names; None where all do."""
        missing = [name for name in dict.fromkeys(names) if name not in self.columns]
        if not missing:
            return None
        by = {name: f" for {keys[name]}" for name in missing if keys and name in keys}
        sentences = [f"no column {name!r}{by.get(name, '')}{nearest_of(name, self.columns)}" for name in missing]
        has = listed(self.columns, shown=20)
        single = "" if len(self.columns) > 1 else f" Only {', '.join(SEPARATORS.values())} separate cells."
        named = " ".join(f"{keys[name]}=COLUMN" for name in by) if keys else ""
        mend = f" Say which it is: {named}." if named and not single else ""
        return f"{self.path}: {'; '.join(sentences)}. Its columns are: {has}.{mend}{single}"


def format_of(path: Path) -> Format:
    """Choose the format by the file's extension.

    Raises:
        AnnotationError: the extension is none of the known ones.
    """
    try:
        return (FORMATS | WHOLE)[path.suffix.lower()]
    except KeyError:
        known = ", *".join([*FORMATS, *WHOLE])
        raise AnnotationError(f"{path}: unknown kind of table; name it one of *{known}.") from None


def read_table(
    path: Path,
    *,
    format: Format,  # noqa: A002
    id_column: str,
    quoting: Quoting = "rfc4180",
    names: Sequence[str] = (),
    nested: Collection[str] = (),
) -> FileTable:
    """Read a table with a header line (or JSON objects, one a line or in one list; or the columns of a MATLAB file).

    id_column: names rejected rows, where they reach that far. quoting: rfc4180, or none where a quote is a character
    like any other. names: see `GridFile`. nested: columns that may hold lists and objects in JSON; their cells are JSON
    texts.

    Raises:
        AnnotationError: the file as a whole cannot be used.
    """
    _check_exists(path)
    if format == "jsonl":
        return _read_jsonl(path, read_text(path), id_column=id_column, nested=nested)
    if format == "json":
        return _read_list(path, nested=nested)
    if format == "mat":
        return _read_columns(path)
    separator = "\t" if format == "tsv" else ","
    grid = read_grid(path, separator=separator, id_column=id_column, quoting=quoting, names=names)
    if not grid.columns:
        raise AnnotationError(f"{path} is empty.")
    at = grid.columns.index(id_column) if id_column in grid.columns else len(grid.columns)
    rows, rejects = list[FileRow](), list[Failure]()
    for cells in grid.rows:
        fault = cells.fault or lack_of(cells.values, grid.columns)
        if fault:
            name = cells.values[at] if at < len(cells.values) else ""
            rejects.append(Failure(id=name, reason=f"{fault} (line {cells.line})", row=cells.number, table=path.name))
        else:
            rows.append(FileRow(cells.number, cells.line, dict(zip(grid.columns, cells.values, strict=True))))
    return FileTable(path, grid.columns, tuple(rows), tuple(rejects), grid.notes)


def _is_thousand(before: str, behind: str, high: float) -> bool:
    return len(behind) == 3 and before != "0" and int(before + behind) <= high


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def lack_of(values: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """Say that a row is too short; empty where it is not."""
    return f"has {len(values)} fields where the header has {len(columns)}" if len(values) < len(columns) else ""


def _read_jsonl(path: Path, text: str, *, id_column: str, nested: Collection[str]) -> FileTable:
    objects = [
        (line, *_tried(partial(parse_object, content, nested), f" (line {line})"))
        for line, content in enumerate(io.StringIO(text, newline=""), 1)
        if content.strip()
    ]
    table = _of_objects(path, objects)
    if id_column not in table.columns and not table.rows:
        raise AnnotationError(f"{path}: no line can be read; the first fault: {table.rejects[0].reason}.")
    return table


def _read_list(path: Path, *, nested: Collection[str]) -> FileTable:
    """Read a list of objects, as VQA2 publishes its ratings."""
    values = enumerate(read_list(path), 1)
    table = _of_objects(path, [(at, *_tried(partial(to_texts, one, nested))) for at, one in values])
    if not table.rows:
        raise AnnotationError(f"{path}: no item of its list can be read; the first fault: {table.rejects[0].reason}.")
    return table


def _tried(read: Callable[[], dict[str, str]], where: str = "") -> tuple[dict[str, str] | None, str]:
    """An object, or None and what is wrong with it."""
    try:
        return read(), ""
    except (ValueError, RecursionError) as error:
        return None, f"{error}{where}"


def _of_objects(path: Path, objects: Sequence[tuple[int, dict[str, str] | None, str]]) -> FileTable:
    """Make a table of objects, each with its line and either its texts or its fault; what one lacks is empty."""
    if not objects:
        raise AnnotationError(f"{path} is empty.")
    rows, rejects, columns = list[FileRow](), list[Failure](), dict[str, None]()
    for number, (line, values, fault) in enumerate(objects, 1):
        if values is None:
            rejects.append(Failure(id="", reason=fault, row=number, table=path.name))
        else:
            columns.update(dict.fromkeys(values))
            rows.append(FileRow(number, line, values))
    num_cells = sum(len(row.values) for row in rows)
    if len(columns) * len(rows) > MOST_EMPTY * num_cells + 1_000_000:
        raise AnnotationError(f"{path}: its {len(rows)} objects have {len(columns)} names, hardly one in common.")
    rows = [FileRow(row.number, row.line, dict.fromkeys(columns, "") | row.values) for row in rows]
    return FileTable(path, tuple(columns), tuple(rows), tuple(rejects))


def _read_columns(path: Path) -> FileTable:
    columns = read_mat(path)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return FileTable(path, tuple(columns), tuple(FileRow(at, at, row) for at, row in enumerate(rows, 1)), ())


def _loads(text: str) -> Any:
    # Numbers stay the text they are, so that ids keep their zeros and labels their digits.
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def parse_object(content: str, nested: Collection[str] = ()) -> dict[str, str]:
    """Read a JSON object as texts; numbers stay as they are written. Raises ValueError with a sentence."""
    try:
        value = _loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from None
    return to_texts(value, nested)


def to_texts(value: Any, nested: Collection[str] = ()) -> dict[str, str]:
    """Turn the values of an object into texts. Raises ValueError with a sentence."""
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    deep = {name: cell for name, cell in value.items() if isinstance(cell, dict | list)}
    if wrong := [name for name in deep if name not in nested]:
        told = "" if CONVERSATIONS not in wrong else f" ({_LLAVA})"
        raise ValueError(
            f"holds a list or an object in {', '.join(map(repr, wrong))}; cells are texts or numbers{told}"
        )
    value |= {name: json.dumps(cell) for name, cell in deep.items()}
    if not all(is_text(str(text), or_bytes=True) for pair in value.items() for text in pair):
        raise ValueError("holds one half of a character (a lone surrogate)")
    return {name: "" if cell is None else str(cell) for name, cell in value.items()}


def _check_exists(path: Path) -> None:
    if not os.path.lexists(path) and os.access(path.parent, os.R_OK | os.X_OK):
        siblings = [entry.name for entry in path.parent.iterdir()]
        raise AnnotationError(f"{path}: no such table{nearest_of(path.name, siblings)}.")


def nearest_of(name: str, choices: tuple[str, ...] | list[str]) -> str:
    """Ask whether the nearest of some names was meant: ` (did you mean 'Id'?)`; empty where none is near."""
    lowered = {choice.lower(): choice for choice in choices[:NUM_COMPARED]}
    found = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f" (did you mean {lowered[found[0]]!r}?)" if found else ""
