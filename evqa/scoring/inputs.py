"""What is to be scored: every item once, in order, with the reasons of those that cannot be.

Items are not kept: a table of a million rows is read twice, so that it needs little memory.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from evqa.datasets.streaming import SUFFIXES
from evqa.errors import ConfigError
from evqa.files.names import from_system, listed
from evqa.files.regular import why_unreadable
from evqa.media.suffixes import AUDIO, IMAGE, VIDEO
from evqa.scoring.sources import InputSource, NamedColumns, SourceEntry, TableSource, file_sources
from evqa.types import Record

FEW_ITEMS = 4  # that somebody has named, up to which they are read in this process: to start another one takes longer
Place = tuple[str, str]  # table and row, or "" and file


class InputItem(NamedTuple):
    """One item in order: a record to be scored, or the reason why it cannot be.

    row, table: its place, where it comes from a table. is_extra: no row of a file of scores stands for it, as its id is
    empty or another item's. paths: its files, the first one first; none where a table's row names none.
    """

    id: str
    record: Record | None
    reason: str
    row: int | None
    table: str | None
    is_extra: bool
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Special:
    """What the other rows say about a row with the same id."""

    fault: str
    is_extra: bool


@dataclass(frozen=True, kw_only=True)
class FoundInputs:
    """All items, in order. num_items, num_usable: of all, and of those that can be scored.

    special: by the number of an item, for ids that occur more than once.
    """

    sources: tuple[InputSource, ...]
    num_items: int
    num_usable: int
    special: dict[int, Special] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences worth telling."""
        return tuple(note for source in self.sources for note in source.notes)

    def __iter__(self) -> Iterator[InputItem]:
        for number, entry in enumerate(itertools.chain.from_iterable(self.sources)):
            special = self.special.get(number)
            fault = (special.fault if special else "") or entry.fault
            is_extra = special.is_extra if special else not entry.id.strip()
            record = None if fault else _record(entry)
            paths = () if entry.path is None else (str(entry.path), *entry.files)
            yield InputItem(entry.id, record, fault, entry.row, entry.table, is_extra, paths)

    def records(self, *, start: int = 0) -> Iterator[Record]:
        """Those that can be scored, from a number of item on."""
        return (item.record for item in itertools.islice(self, start, None) if item.record is not None)

    def digest(self) -> str:
        """A text that is another one where other items would be scored."""
        return hashlib.sha256("\n".join(source.digest() for source in self.sources).encode()).hexdigest()


def _record(entry: SourceEntry) -> Record:
    assert entry.path is not None
    texts = {"title": entry.title, "description": entry.description}
    given = {name: text for name, text in texts.items() if text} | dict(entry.texts)
    return Record(id=entry.id, paths=(Path(entry.path), *map(Path, entry.files)), texts=given)


def find_inputs(
    inputs: Sequence[Path],
    *,
    videos: Path | None = None,
    columns: NamedColumns | None = None,
    own_columns: NamedColumns | None = None,
    title: str | None = None,
    description: str | None = None,
    with_sound: bool = False,
    with_images: bool = False,
) -> FoundInputs:
    """Find what is to be scored in files, folders and tables; the ids of files are told by `distinct_ids`.

    videos: folder of the tables' files; by default that of each table. columns: as the user names them; own_columns: as
    the run's own table has them. with_sound, with_images: folders are searched
    for sound files and for still images too.

    Raises:
        AnnotationError, ConfigError: an input does not exist or cannot be used, or flags contradict each other.
    """
    given = list(dict.fromkeys(inputs))
    tables = [path for path in given if path.suffix.lower() in SUFFIXES and not why_unreadable(path)]
    _check_flags(tables, videos, columns, title, description)
    title, description = (text and from_system(text) for text in (title, description))
    others = [path for path in given if path not in tables]
    suffixes = (*VIDEO, *(AUDIO if with_sound else ()), *(IMAGE if with_images else ()))
    files = dict[Path, InputSource](
        zip(others, file_sources(others, suffixes=suffixes, title=title, description=description), strict=True)
    )
    return survey(
        tuple(
            files[path]
            if path in files
            else TableSource(path, videos=videos or path.parent, asked=columns or NamedColumns(), own=own_columns)
            for path in given
        )
    )


def _check_flags(
    tables: Sequence[Path],
    videos: Path | None,
    columns: NamedColumns | None,
    title: str | None,
    description: str | None,
) -> None:
    if tables and (title is not None or description is not None):
        raise ConfigError(["--title and --description belong to single videos; a table brings its own."])
    named = None if columns is None else replace(columns, texts=())  # which the scorer names
    if not tables and (videos is not None or named not in (None, NamedColumns())):
        raise ConfigError(["--videos and the names of columns belong to a table, and no input is one."])


def survey(sources: tuple[InputSource, ...]) -> FoundInputs:
    """Go through all items once: count them, and find ids that occur more than once.

    An id that occurs twice with the same words is kept once; with different ones nobody can say which row is right,
    so none of them is used.
    """
    first, marks, usable = dict[str, int](), array("q"), bytearray()
    twins, places, differing = dict[str, list[int]](), dict[int, Place](), set[str]()
    for number, entry in enumerate(itertools.chain.from_iterable(sources)):
        usable.append(not entry.fault)
        marks.append(entry.mark or 0)
        if not entry.id.strip():
            continue
        at = first.setdefault(entry.id, number)
        if at != number:
            twins.setdefault(entry.id, [at]).append(number)
            places[number] = entry.place
            if entry.mark is not None and marks[at] and marks[at] != entry.mark:
                differing.add(entry.id)
            if not marks[at]:  # the earlier one does not have the form of its table
                first[entry.id] = number
    wanted = {numbers[0] for numbers in twins.values()}
    del first
    if wanted:
        entries = enumerate(itertools.chain.from_iterable(sources))
        places |= {number: entry.place for number, entry in entries if number in wanted}
    special = _judge_twins(twins, marks, places, differing)
    for number, judged in special.items():
        usable[number] = usable[number] and not judged.fault
    return FoundInputs(sources=sources, num_items=len(usable), num_usable=usable.count(1), special=special)


def _judge_twins(
    twins: dict[str, list[int]], marks: array[int], places: dict[int, Place], differing: set[str]
) -> dict[int, Special]:
    special = dict[int, Special]()
    for name, numbers in twins.items():
        whole = [number for number in numbers if marks[number]]
        owner = (whole or numbers)[0]
        if name in differing:
            fault = (
                f"the Id stands in {_words([places[at] for at in whole])} with different values; none of them is used"
            )
        else:
            fault = f"repeats {_words([places[owner]], others=[places[at] for at in numbers])}, which is kept"
        for number in numbers:
            is_kept = number == owner and name not in differing
            reason = "" if is_kept or not marks[number] else fault
            special[number] = Special(reason, is_extra=number != owner)
    return special


def _words(places: Sequence[Place], *, others: Sequence[Place] = ()) -> str:
    """Name rows, with their table where more than one is spoken of."""
    tables = {table for table, _ in (*places, *others)}
    if len(tables) == 1 and "" not in tables:
        return f"row{'s' if len(places) > 1 else ''} {listed(row for _, row in places)}"
    return listed(f"{table} row {row}" if table else row for table, row in places)
