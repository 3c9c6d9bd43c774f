"""CSV and TSV files as rows of cells: their encoding, what separates their cells, their header.

Spreadsheet programs write more kinds than RFC 4180 knows: a byte order mark, a first line `sep=;`, semicolons or tabs
in a .csv, lines that end in commas. What can be read in one way only is read; the rest is a sentence.
"""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from evqa.errors import AnnotationError
from evqa.files.names import is_text, listed
from evqa.files.regular import why, why_unreadable
from evqa.files.separated import SEPARATORS, Lines, Quoting, SplitRow, separator_of, split_records

MAX_BYTES = 4_000_000_000
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UNREAD = "_"  # stands for the name of a column that is not read, where names are given
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


class NoHeaderError(AnnotationError):
    """A table's first line is data. cells: those of that line."""

    def __init__(self, path: Path, cells: Sequence[str]) -> None:
        super().__init__(
            f"{path}: its first line is data ({listed(cells)}), not the names of its columns. Write a line with the "
            "names in front."
        )
        self.path, self.cells = path, tuple(cells)

    def __reduce__(self) -> tuple[type, tuple[Path, tuple[str, ...]]]:
        return type(self), (self.path, self.cells)


class Cells(NamedTuple):
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
    path: Path,
    *,
    separator: str,
    id_column: str,
    quoting: Quoting = "rfc4180",
    names: Sequence[str] = (),
    any_bytes: bool = False,
) -> Grid:
    """Read a table as a whole.

    separator, id_column, quoting, names: see `GridFile`. any_bytes: see `read_text`.

    Raises:
        AnnotationError: the file as a whole cannot be used.
    """
    text = read_text(path, any_bytes=any_bytes)
    file = GridFile(
        path,
        separator=separator,
        id_column=id_column,
        quoting=quoting,
        names=names,
        opened=lambda: io.StringIO(text, newline=""),
    )
    return Grid(file.columns, tuple(file), file.notes)


class GridFile:
    """A table whose rows are read from the file each time they are iterated over, in little memory.

    separator: what is expected between cells; another one is accepted where the header leaves no doubt, for which the
    name of one column (`id_column`) is asked. quoting: none where a quote is a character like any other. names: of the
    columns of a file without a header, in order, `_` for one that is not read. opened: gives the text, with its line
    ends, where it is not read from the path.

    Raises:
        AnnotationError: the file as a whole cannot be used; while iterating, where a later line is not UTF-8.
    """

    def __init__(
        self,
        path: Path,
        *,
        separator: str,
        id_column: str,
        quoting: Quoting = "rfc4180",
        names: Sequence[str] = (),
        opened: Callable[[], TextIO] | None = None,
    ) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        self._expected, self._id_column, self._quoting, self._given = separator, id_column, quoting, tuple(names)
        self._opened = opened or self._open
        records = self._records()
        header, first = next(records, None), next(records, None)
        records.close()
        if not names and header and first and id_column not in header.fields and _is_data(header.fields, first.fields):
            raise NoHeaderError(path, [field.strip() for field in header.fields])
        self._names = self._names_of(header) if header else ()
        if first and _is_longer(first, self._names) and all(_is_longer(one, self._names) for one in self._rows()):
            self._names += ("",)  # every row ends in a comma, the header does not
        self._places = [place for place, name in enumerate(self._names) if name]
        self.columns = tuple(self._names[place] for place in self._places)
        if self._separator != separator:
            self.notes += (f"{path.name}: its cells are separated by {SEPARATORS[self._separator]}.",)
        self.notes += () if names else tuple(self._unread())

    def __iter__(self) -> Iterator[Cells]:
        names, places, separator = self._names, self._places, self._separator
        num_names, is_plain = len(names), len(places) == len(names)
        end = num_names if self._given else max(places, default=-1) + 1  # behind it, a cell has no place
        for number, (line, fields, fault) in enumerate(self._rows(), 1):
            if is_plain and len(fields) == num_names:
                yield Cells(number, line, tuple(fields), fault)
                continue
            values = tuple(fields[place] for place in places if place < len(fields))
            yield Cells(number, line, values, fault or _surplus(fields, names, end, separator))

    def _names_of(self, header: SplitRow) -> tuple[str, ...]:
        if not self._given:
            return _names(self.path, header)
        if len(header.fields) != len(self._given):
            cells = listed([field.strip() for field in header.fields])
            raise AnnotationError(
                f"{self.path}: its first line has {len(header.fields)} cells ({cells}), and data.columns names "
                f"{len(self._given)}; name every column, '{UNREAD}' for one that is not read."
            )
        return tuple("" if name == UNREAD else name for name in self._given)

    def _rows(self) -> Iterator[SplitRow]:
        return itertools.islice(self._records(), 0 if self._given else 1, None)

    def _records(self) -> Generator[SplitRow, None, None]:
        with self._opened() as file:
            try:
                lines = Lines(file)
                self._separator = separator_of(lines, self._expected, self._given or (self._id_column,), self._quoting)
                yield from split_records(lines, self._separator, self._quoting)
            except UnicodeDecodeError:
                read_text(self.path)  # says where
                raise

    def _open(self) -> TextIO:
        if reason := why_unreadable(self.path):
            raise AnnotationError(f"{self.path}: cannot be read as a table ({reason}).")
        try:
            return self.path.open(encoding="utf-8-sig", newline="")
        except OSError as error:
            raise AnnotationError(f"{self.path}: cannot be read as a table ({why(error, 'opened')}).") from error

    def _unread(self) -> Iterator[str]:
        for place in (place for place in range(max(self._places, default=0)) if not self._names[place]):
            if any(record.fields[place : place + 1] not in ([], [""]) for record in self._rows()):
                yield f"{self.path.name}: column {place + 1} has no name in the header and is not read."


def _is_longer(record: SplitRow, names: tuple[str, ...]) -> bool:
    return len(record.fields) > len(names) and not any(record.fields[len(names) :])


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


def _is_data(header: Sequence[str], first: Sequence[str]) -> bool:
    """Whether a first line is like the second: it holds a number, and numbers in the same places."""
    kinds = [[_NUMBER.fullmatch(cell.strip()) is not None for cell in cells] for cells in (header, first)]
    return any(kinds[0]) and kinds[0] == kinds[1]


def _names(path: Path, header: SplitRow) -> tuple[str, ...]:
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
    if separator == "," and len(fields) > 1 and all(cell.strip().isdecimal() for cell in fields[-2:]):
        mend = "a number with a decimal comma needs quotes around it, or semicolons between the cells"
    if not is_short:
        return f"has {len(fields)} fields where the header has {len(names)}; {mend}"
    return f"holds {fields[filled - 1][:40]!r} in column {filled}, which has no name in the header; name it, or {mend}"
