"""Read CSV, TSV and JSONL tables exactly: every cell stays the text it was, every bad row becomes a sentence.

pandas is avoided on purpose: it turns real titles such as "None", "NA" or "null" into missing values and reads ids
with leading zeros as numbers.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evqa.errors import AnnotationError
from evqa.types import Failure

Format = Literal["csv", "tsv", "jsonl"]
Quoting = Literal["rfc4180", "none"]
FORMATS: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class Row:
    """One row: `number` counts data rows from 1, `line` is the line of the file where it begins."""

    number: int
    line: int
    values: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table as it was read; `rejects` are rows that do not have the form of the table."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    rejects: tuple[Failure, ...]

    def require(self, *names: str) -> None:
        """Raise AnnotationError, with the nearest names, unless all columns exist."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            sentences = [f"no column {name!r}{_nearest(name, self.columns)}" for name in missing]
            raise AnnotationError(f"{self.path}: {'; '.join(sentences)}. Its columns are: {', '.join(self.columns)}.")


def format_of(path: Path) -> Format:
    """Choose the format by the file's extension.

    Raises:
        AnnotationError: the extension is none of the known ones.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise AnnotationError(f"{path}: unknown kind of table; name it one of *{', *'.join(FORMATS)}.") from None


def read_table(path: Path, *, format: Format, id_column: str, quoting: Quoting = "rfc4180") -> Table:  # noqa: A002
    """Read a table with a header line (or JSON objects, one a line); UTF-8, with or without byte order mark.

    id_column: names rejected rows, where they reach that far. quoting: rfc4180, or none where a quote is a character
    like any other.

    Raises:
        AnnotationError: the file as a whole cannot be used.
    """
    text = _read_text(path)
    if format == "jsonl":
        return _read_jsonl(path, text, id_column=id_column)
    records = _split_records(text, delimiter="\t" if format == "tsv" else ",", quoting=quoting)
    header = next(records, None)
    if header is None or header.fault:
        raise AnnotationError(f"{path} is empty." if header is None else f"{path}: bad header: {header.fault}.")
    columns = tuple(name.strip() for name in header.fields)
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise AnnotationError(f"{path}: column {', '.join(map(repr, doubled))} occurs more than once in the header.")
    rows, rejects = list[Row](), list[Failure]()
    for number, record in enumerate(records, 1):
        fault = record.fault or _count_fault(record.fields, columns, format=format)
        if fault:
            at = columns.index(id_column) if id_column in columns else len(record.fields)
            name = record.fields[at] if at < len(record.fields) else ""
            rejects.append(Failure(id=name, reason=f"{fault} (line {record.line})", row=number, table=path.name))
        else:
            rows.append(Row(number, record.line, dict(zip(columns, record.fields, strict=True))))
    return Table(path, columns, tuple(rows), tuple(rejects))


@dataclass(frozen=True)
class _Record:
    line: int
    fields: list[str]
    fault: str = ""


class _Lines:
    """Lines of a text that can be read again from an earlier one."""

    def __init__(self, text: str) -> None:
        self.lines = list(io.StringIO(text, newline=""))
        self.next = 0

    def __iter__(self) -> Iterator[str]:
        while self.next < len(self.lines):
            self.next += 1
            yield self.lines[self.next - 1]


def _split_records(text: str, *, delimiter: str, quoting: Quoting) -> Iterator[_Record]:
    """Split into records; a quote that never closes costs its own line only, not all lines up to the next quote."""
    lines = _Lines(text)

    def parse() -> Iterator[list[str]]:
        return csv.reader(
            iter(lines),
            delimiter=delimiter,
            quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL,
            strict=True,
        )

    reader = parse()
    while lines.next < len(lines.lines):
        begin = lines.next
        try:
            fields = next(reader, [])
        except csv.Error as error:
            first = lines.lines[begin].split(delimiter)
            yield _Record(begin + 1, first, f"its quotes do not follow RFC 4180: {error}")
            lines.next = begin + 1
            reader = parse()
            continue
        if fields:  # blank lines are no rows
            yield _Record(begin + 1, fields)


def _count_fault(fields: list[str], columns: tuple[str, ...], *, format: Format) -> str:  # noqa: A002
    if len(fields) == len(columns):
        return ""
    mend = "a comma inside a text needs quotes around the text" if format == "csv" else "a tab may not stand in a text"
    mend = f"; {mend}" if len(fields) > len(columns) else ""
    return f"has {len(fields)} fields where the header has {len(columns)}{mend}"


def _read_jsonl(path: Path, text: str, *, id_column: str) -> Table:
    rows, rejects, columns = list[Row](), list[Failure](), dict[str, None]()
    filled = [(at, line) for at, line in enumerate(io.StringIO(text, newline=""), 1) if line.strip()]
    if not filled:
        raise AnnotationError(f"{path} is empty.")
    for number, (line, content) in enumerate(filled, 1):
        try:
            values = _parse_object(content)
        except (ValueError, RecursionError) as error:
            rejects.append(Failure(id="", reason=f"{error} (line {line})", row=number, table=path.name))
            continue
        columns.update(dict.fromkeys(values))
        rows.append(Row(number, line, values))
    rows = [Row(row.number, row.line, dict.fromkeys(columns, "") | row.values) for row in rows]
    if id_column not in columns and not rows:
        raise AnnotationError(f"{path}: no line is a JSON object; the first fault: {rejects[0].reason}.")
    return Table(path, tuple(columns), tuple(rows), tuple(rejects))


def _parse_object(content: str) -> dict[str, str]:
    try:
        # Numbers stay the text they are, so that ids keep their zeros and labels their digits.
        value = json.loads(content, parse_float=str, parse_int=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    nested = [name for name, cell in value.items() if isinstance(cell, dict | list)]
    if nested:
        raise ValueError(f"holds a list or an object in {', '.join(map(repr, nested))}; cells are texts or numbers")
    return {name: "" if cell is None else str(cell) for name, cell in value.items()}


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise AnnotationError(f"{path}: no such table{_nearest(path.name, siblings)}.") from None
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = data[: error.start].count(b"\n") + 1, data[error.start]
        raise AnnotationError(f"{path}: line {line} is not UTF-8 (byte 0x{byte:02x}); save it as UTF-8.") from None


def _nearest(name: str, choices: tuple[str, ...] | list[str]) -> str:
    lowered = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f" (did you mean {lowered[found[0]]!r}?)" if found else ""
