"""CSV and TSV files as rows of cells: their encoding, what separates their cells, their header.

Spreadsheet programs write more kinds than RFC 4180 knows: a byte order mark, a first line `sep=;`, semicolons or tabs
in a .csv, lines that end in commas. What can be read in one way only is read; the rest is a sentence.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evqa.errors import AnnotationError
from evqa.files.names import is_text, listed
from evqa.files.regular import why, why_unreadable

Quoting = Literal["rfc4180", "none"]
MAX_BYTES = 4_000_000_000
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?[,;\t]*')


@dataclass(frozen=True)
class Cells:
    """One row: `number` counts data rows from 1, `line` is the line of the file where it begins.

    values: of the named columns, fewer where the row is short. fault: why the row cannot be used, else empty.
    """

    number: int
    line: int
    values: tuple[str, ...]
    fault: str = ""


@dataclass(frozen=True)
class Grid:
    """A table as it stands: named columns (none in an empty file), rows (blank ones are none), and notes."""

    columns: tuple[str, ...]
    rows: tuple[Cells, ...]
    notes: tuple[str, ...] = ()


def read_grid(
    path: Path, *, separator: str, id_column: str, quoting: Quoting = "rfc4180", any_bytes: bool = False
) -> Grid:
    """Read a table with a header.

    separator: what is expected between cells; another one is accepted where the header leaves no doubt, for which the
    name of one column (`id_column`) is asked. quoting: none where a quote is a character like any other. any_bytes:
    see `read_text`.

    Raises:
        AnnotationError: the file as a whole cannot be used.
    """
    lines, expected = _Lines(read_text(path, any_bytes=any_bytes)), separator
    separator = _separator(lines, expected, id_column, quoting)
    notes = [f"{path.name}: its cells are separated by {SEPARATORS[separator]}."] if separator != expected else []
    records = list(_split_records(lines, separator, quoting))
    if not records:
        return Grid((), ())
    header = records.pop(0)
    names = _names(path, header)
    if records and all(len(record.fields) > len(names) and not any(record.fields[len(names) :]) for record in records):
        names += ("",)  # every row ends in a comma, the header does not
    places = [place for place, name in enumerate(names) if name]
    rows = tuple(_cells(number, record, names, places, separator) for number, record in enumerate(records, 1))
    return Grid(tuple(names[place] for place in places), rows, (*notes, *_unread(path, names, places, records)))


def _cells(number: int, record: _SplitRow, names: tuple[str, ...], places: list[int], separator: str) -> Cells:
    fields = record.fields
    fault = record.fault or _surplus(fields, names, places[-1] + 1, separator)
    return Cells(number, record.line, tuple(fields[place] for place in places if place < len(fields)), fault)


def _unread(path: Path, names: tuple[str, ...], places: list[int], records: list[_SplitRow]) -> Iterator[str]:
    for place in (place for place in range(places[-1]) if not names[place]):
        if any(record.fields[place : place + 1] not in ([], [""]) for record in records):
            yield f"{path.name}: column {place + 1} has no name in the header and is not read."


def read_text(path: Path, *, any_bytes: bool = False) -> str:
    """Read a text file: UTF-8, with or without byte order mark.

    any_bytes: keep bytes that are not UTF-8 (file names that evqa wrote) as surrogate escapes, as Python does.

    Raises:
        AnnotationError: no ordinary file, too large, or in another encoding.
    """
    reason = why_unreadable(path)
    try:
        size = 0 if reason else path.stat().st_size
        reason = reason or (f"has {size} bytes, at most {MAX_BYTES} are read" if size > MAX_BYTES else None)
        data = b"" if reason else path.read_bytes()
    except OSError as error:
        reason = why(error, "opened")
    if reason:
        raise AnnotationError(f"{path}: cannot be read as a table ({reason}).")
    try:
        return data.decode("utf-8-sig", "surrogateescape" if any_bytes and not data.startswith(_UTF16) else "strict")
    except UnicodeDecodeError as error:
        line, byte = data[: error.start].count(b"\n") + 1, data[error.start]
        kind = "; it is UTF-16, as Excel's 'Unicode text'" if data.startswith(_UTF16) else ""
        mend = "save it as 'CSV UTF-8'" if kind else "save it as UTF-8"
        raise AnnotationError(f"{path}: line {line} is not UTF-8 (byte 0x{byte:02x}){kind}; {mend}.") from None


def _names(path: Path, header: _SplitRow) -> tuple[str, ...]:
    if header.fault:
        raise AnnotationError(f"{path}: bad header: {header.fault}.")
    names = tuple(name.strip() for name in header.fields)
    if not all(map(is_text, names)):
        raise AnnotationError(f"{path}: the header (line {header.line}) is not UTF-8; save it as UTF-8.")
    if not any(names):
        raise AnnotationError(f"{path}: the header (the first line) holds no name of a column.")
    if any("\0" in name for name in names):
        raise AnnotationError(f"{path}: the header holds zero bytes, as UTF-16 does; save it as UTF-8.")
    doubled = sorted(name for name, count in Counter(filter(None, names)).items() if count > 1)
    if doubled:
        raise AnnotationError(f"{path}: column {listed(map(repr, doubled))} occurs more than once in the header.")
    return names


def _surplus(fields: list[str], names: tuple[str, ...], end: int, separator: str) -> str:
    """Say what is wrong with cells behind the last named column; empty ones are what spreadsheets leave there."""
    filled = max((at + 1 for at, cell in enumerate(fields[end:], end) if cell.strip()), default=0)
    is_short = len(fields) <= len(names)
    if not filled and (is_short or len(names) > end):
        return ""
    what = {",": "a comma"}.get(separator, repr(separator))
    mend = (
        "a tab may not stand in a text" if separator == "\t" else f"{what} inside a text needs quotes around the text"
    )
    if not is_short:
        return f"has {len(fields)} fields where the header has {len(names)}; {mend}"
    return f"holds {fields[filled - 1][:40]!r} in column {filled}, which has no name in the header; name it, or {mend}"


@dataclass(frozen=True)
class _SplitRow:
    line: int
    fields: list[str]
    fault: str = ""


class _Lines:
    """Lines of a text (ended by LF, CR LF or CR) that can be read again from an earlier one."""

    def __init__(self, text: str) -> None:
        self.lines = list(io.StringIO(text, newline=""))
        self.next = 0

    def __iter__(self) -> Iterator[str]:
        while self.next < len(self.lines):
            self.next += 1
            yield self.lines[self.next - 1]


def _separator(lines: _Lines, expected: str, id_column: str, quoting: Quoting) -> str:
    """Return what separates the cells, and skip a first line `sep=;` that says so."""
    filled = next((at for at, line in enumerate(lines.lines) if line.strip()), 0)
    first = lines.lines[filled].strip("\r\n") if lines.lines else ""
    if found := _SEPARATOR_LINE.fullmatch(first):
        lines.next = filled + 1
        return found[1]

    def names(separator: str) -> list[str]:
        record = next(_split_records(_Lines("".join(lines.lines[filled : filled + 1])), separator, quoting), None)
        return [name.strip() for name in record.fields] if record else []

    if len(list(filter(None, names(expected)))) != 1 or names(expected) == [id_column]:
        return expected
    others = [other for other in SEPARATORS if other != expected and len(names(other)) > 1]
    telling = [other for other in others if id_column in names(other)] or others
    return telling[0] if len(telling) == 1 else expected


def _split_records(lines: _Lines, separator: str, quoting: Quoting) -> Iterator[_SplitRow]:
    """Split into records; a quote that never closes costs its own line only, not all lines up to the next quote."""

    def parse() -> Iterator[list[str]]:
        return csv.reader(
            iter(lines),
            delimiter=separator,
            quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL,
            strict=True,
        )

    reader = parse()
    while lines.next < len(lines.lines):
        begin = lines.next
        try:
            fields = next(reader, [])
        except csv.Error as error:
            yield _SplitRow(begin + 1, lines.lines[begin].rstrip("\r\n").split(separator), _fault(error))
            lines.next = begin + 1
            reader = parse()
            continue
        if any(map(str.strip, fields)):  # blank lines are no rows
            yield _SplitRow(begin + 1, fields)


def _fault(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a cell has more than {csv.field_size_limit()} characters; perhaps a quote is never closed"
    return f"its quotes do not follow RFC 4180: {error}"
