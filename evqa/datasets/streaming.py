"""Tables that are read row by row, as often as asked for: CSV, TSV, JSONL and Parquet of a million rows.

`evqa.datasets.tables` reads a training table as a whole, every cell; this reads the few columns that scoring needs.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evqa.datasets.tables import FORMATS, lack_of, parse_object
from evqa.errors import AnnotationError, MissingDependencyError
from evqa.files.grid import GridFile, read_text
from evqa.files.regular import why, why_unreadable

PARQUET = ".parquet"
SUFFIXES = (*(suffix for suffix in FORMATS if suffix != ".txt"), PARQUET)  # a .txt among inputs may be anything
NUM_TELLING = 1000  # objects of a JSONL table whose names are its columns


class StreamedRow(NamedTuple):
    """One row: `number` counts data rows from 1. cells: of the columns that were asked for; fault: why not, else empty.

    A row with a fault has the cells that could be made out, "" for the others.
    """

    number: int
    cells: tuple[str, ...]
    fault: str = ""


class TableStream(ABC):
    """A table whose rows are read anew each time. columns: all its names; notes: what is worth telling."""

    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def rows(self, columns: tuple[str, ...]) -> Iterator[StreamedRow]:
        """Read some columns of every row, in order. Raises AnnotationError where the file cannot be read on."""


def open_table(path: Path, *, id_column: str, names: Sequence[str] = ()) -> TableStream:
    """Open a table by its suffix.

    id_column: a name by which the header of a CSV with odd separators is recognised. names: those of the columns of a
    CSV or TSV without a header, see `GridFile`.

    Raises:
        AnnotationError: the file cannot be used, or its suffix is none of a table.
        MissingDependencyError: Parquet needs pyarrow.
    """
    if path.suffix.lower() == PARQUET:
        return ParquetStream(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise AnnotationError(f"{path}: unknown kind of table; name it one of *{', *'.join(SUFFIXES)}.")
    if kind == "jsonl":
        return ObjectStream(path)
    return GridStream(path, separator="\t" if kind == "tsv" else ",", id_column=id_column, names=names)


class GridStream(TableStream):
    """CSV and TSV."""

    def __init__(self, path: Path, *, separator: str, id_column: str, names: Sequence[str] = ()) -> None:
        self._grid = GridFile(path, separator=separator, id_column=id_column, names=names)
        self.columns, self.notes = self._grid.columns, self._grid.notes
        if not self.columns:
            raise AnnotationError(f"{path} is empty.")

    def rows(self, columns: tuple[str, ...]) -> Iterator[StreamedRow]:
        """Read some columns of every row."""
        places = [self.columns.index(column) for column in columns]
        for number, line, values, fault in self._grid:
            lack = fault or lack_of(values, self.columns)
            if not lack:
                yield StreamedRow(number, tuple([values[place] for place in places]))
                continue
            cells = tuple(values[place] if place < len(values) else "" for place in places)
            yield StreamedRow(number, cells, f"{lack} (line {line})")


class ObjectStream(TableStream):
    """JSONL: one object a line; what an object lacks is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if reason := why_unreadable(path):
            raise AnnotationError(f"{path}: cannot be read as a table ({reason}).")
        found, fault = dict[str, None](), ""
        for _, _, values, problem in itertools.islice(self._objects(), NUM_TELLING):
            found.update(dict.fromkeys(values))
            fault = fault or problem
        if not found:
            what = f"no line is a JSON object; the first fault: {fault}" if fault else "the file is empty"
            raise AnnotationError(f"{path}: {what}.")
        self.columns = tuple(found)

    def rows(self, columns: tuple[str, ...]) -> Iterator[StreamedRow]:
        """Read some columns of every object."""
        for number, line, values, fault in self._objects(columns):
            cells = tuple([values.get(column, "") for column in columns])
            yield StreamedRow(number, cells, f"{fault} (line {line})" if fault else "")

    def _objects(self, columns: tuple[str, ...] = ()) -> Iterator[tuple[int, int, dict[str, str], str]]:
        """Yield (number, line, object, fault); lists and objects are faults in the columns alone that are asked for."""
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                yield from _parse_lines(file, nested=_AllBut(columns))
        except OSError as error:
            raise AnnotationError(f"{self._path}: cannot be read as a table ({why(error, 'opened')}).") from error
        except UnicodeDecodeError:
            read_text(self._path)  # says where
            raise


class ParquetStream(TableStream):
    """Parquet files, a batch of rows at a time."""

    def __init__(self, path: Path) -> None:
        if reason := why_unreadable(path):
            raise AnnotationError(f"{path}: cannot be read as a table ({reason}).")
        self._path = path
        check_pyarrow(path)
        self.columns = tuple(self._open().schema_arrow.names)

    def rows(self, columns: tuple[str, ...]) -> Iterator[StreamedRow]:
        """Read some columns of every row; numbers become the text that Python writes for them."""
        file = self._open()
        wrong = [name for name in columns if not _is_plain(file.schema_arrow.field(name).type)]
        if wrong:
            raise AnnotationError(
                f"{self._path}: column {wrong[0]!r} holds lists, objects or bytes; give texts or numbers."
            )
        number = itertools.count(1)
        for batch in file.iter_batches(batch_size=10_000, columns=list(columns)):
            for cells in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                yield StreamedRow(next(number), tuple(["" if cell is None else str(cell) for cell in cells]))

    def _open(self) -> Any:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            return ParquetFile(self._path)
        except (ArrowException, OSError) as error:
            raise AnnotationError(f"{self._path}: cannot be read as a Parquet table ({error}).") from error


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    return not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def check_pyarrow(path: Path) -> None:
    """Raise MissingDependencyError where a Parquet file can be neither read nor written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            f"{path}: Parquet needs the package pyarrow; install it with pip install 'evqa[parquet]', or take CSV or "
            "JSONL."
        ) from None


class _AllBut(frozenset[str]):
    """All names but some."""

    def __contains__(self, name: object) -> bool:
        return not super().__contains__(name)


def _parse_lines(lines: Iterable[str], *, nested: Collection[str]) -> Iterator[tuple[int, int, dict[str, str], str]]:
    number = 0
    for line, content in enumerate(lines, 1):
        if not content.strip():
            continue
        number += 1
        try:
            yield number, line, parse_object(content, nested), ""
        except (ValueError, RecursionError) as error:
            yield number, line, {}, str(error)
