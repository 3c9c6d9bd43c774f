"""Text as rows of cells: what separates them, and quotes by RFC 4180."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TextIO

Quoting = Literal["rfc4180", "none"]
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?[,;\t]*')


class SplitRow(NamedTuple):
    """Cells of a row. line: of the file, where it begins; fault: why the row cannot be used, else empty."""

    line: int
    fields: list[str]
    fault: str = ""


class Lines:
    """Lines of a text (ended by LF, CR LF or CR), of which those since a mark can be read again."""

    def __init__(self, text: TextIO) -> None:
        self._text, self._again = text, deque[str]()
        self.number = 0  # of lines that were read
        self.since = list[str]()

    def __iter__(self) -> Iterator[str]:
        while line := self._again.popleft() if self._again else self._text.readline():
            self.number += 1
            self.since.append(line)
            yield line

    def mark(self) -> int:
        """Forget the lines before; returns their number."""
        self.since.clear()
        return self.number

    def go_back(self, *, kept: int) -> None:
        """Read the lines since the mark again, but for the first few."""
        self._again.extendleft(reversed(self.since[kept:]))
        self.number -= len(self.since) - kept
        self.since.clear()


def separator_of(lines: Lines, expected: str, known: Sequence[str], quoting: Quoting) -> str:
    """Return what separates the cells, and skip a first line `sep=;` that says so.

    known: one name of the header; several are those of all columns where there is no header.
    """
    first = next((line for line in lines if line.strip()), "")
    found = _SEPARATOR_LINE.fullmatch(first.strip("\r\n"))
    if found:
        return found[1]
    lines.go_back(kept=0)

    def names(separator: str) -> list[str]:
        record = next(split_records(Lines(io.StringIO(first, newline="")), separator, quoting), None)
        return [name.strip() for name in record.fields] if record else []

    if len(list(filter(None, names(expected)))) != 1 or names(expected) == [*known]:
        return expected
    others = [other for other in SEPARATORS if other != expected and len(names(other)) > 1]
    telling = [other for other in others if known[0] in names(other) or len(known) == len(names(other)) > 1] or others
    return telling[0] if len(telling) == 1 else expected


def split_records(lines: Lines, separator: str, quoting: Quoting) -> Iterator[SplitRow]:
    """Split into records; a quote that never closes costs its own line only, not all lines up to the next quote."""

    def parse() -> Iterator[list[str]]:
        return csv.reader(
            iter(lines),
            delimiter=separator,
            quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL,
            strict=True,
        )

    reader = parse()
    while True:
        begin = lines.mark()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield SplitRow(begin + 1, lines.since[0].rstrip("\r\n").split(separator), _fault(error))
            lines.go_back(kept=1)
            reader = parse()
            continue
        if fields is None:
            return
        if any(map(str.strip, fields)):  # blank lines are no rows
            yield SplitRow(begin + 1, fields)


def _fault(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a cell has more than {csv.field_size_limit()} characters; perhaps a quote is never closed"
    return f"its quotes do not follow RFC 4180: {error}"
