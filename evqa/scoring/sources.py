"""Where videos to be scored come from: the rows of a table, or files and folders; read anew as often as needed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from evqa.datasets.folder import MediaFolder
from evqa.datasets.search import Found, distinct_ids, find_media
from evqa.datasets.streaming import StreamedRow, TableStream, open_table
from evqa.datasets.tables import nearest_of
from evqa.errors import AnnotationError
from evqa.files.content import content_hash
from evqa.files.grid import NoHeaderError
from evqa.files.names import is_text, listed
from evqa.files.regular import why_unreadable
from evqa.media.suffixes import AUDIO, IMAGE

NAMES = {  # of columns, in the order in which they are preferred; upper and lower case are alike
    "id": ("id", "video_id"),
    "path": ("path", "video_path", "image_path", "img_path", "file", "filename", "file_name", "image_name", "video"),
    "title": ("title",),
    "description": ("description",),
}


ON_LINK = "copy the file there, name it on the command line, or give the folder that the links lead to (--videos)"


class SourceEntry(NamedTuple):
    """One item as its source has it. fault: why it cannot be scored, else empty.

    mark: a number that is the same for rows that say the same; None where a row does not have the form of its table.
    row, table: its place, where it comes from a table. files: those behind the first. texts: further ones by name.
    """

    id: str
    path: str | Path | None
    title: str | None
    description: str | None
    fault: str
    mark: int | None
    row: int | None = None
    table: str | None = None
    files: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """Its table and row, or the file."""
        return (self.table, str(self.row)) if self.table else ("", str(self.path))


class InputSource(ABC):
    """Gives the same entries in the same order each time. notes: what is worth telling."""

    notes: tuple[str, ...] = ()

    @abstractmethod
    def __iter__(self) -> Iterator[SourceEntry]: ...

    @abstractmethod
    def digest(self) -> str:
        """A text that is another one where other items would be scored."""


@dataclass(frozen=True, kw_only=True)
class NamedColumns:
    """Which column of a table holds what; None where it has none. id or path is given.

    files: columns of further files of a record, behind `path`. texts: columns that the question names. header: names of
    all columns of a table without a header, `_` for one that is not read.
    """

    id: str | None = None
    path: str | None = None
    title: str | None = None
    description: str | None = None
    files: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    header: tuple[str, ...] = field(default=(), repr=False)

    def of(self, columns: Sequence[str]) -> NamedColumns:
        """Those that are among the columns of a table; of several files all or none."""
        has_files = {self.path, *self.files} <= set(columns)
        id_, title, text = (name if name in columns else None for name in (self.id, self.title, self.description))
        path, files = (self.path, self.files) if has_files else (None, ())
        return replace(self, id=id_, path=path, title=title, description=text, files=files)

    def sentence(self) -> str:
        """Say what was taken from where."""
        parts = [f"{kind} from {name!r}" for kind in NAMES if (name := getattr(self, kind))]
        parts += [f"{number}. file from {name!r}" for number, name in enumerate(self.files, 2)]
        parts += [f"{name} for the question" for name in self.texts]
        lacking = [name for name in ("title", "description") if getattr(self, name) is None]
        return ", ".join(parts) + (f"; no {' and no '.join(lacking)}" if lacking else "")


def choose_columns(
    path: Path, columns: Sequence[str], asked: NamedColumns, own: NamedColumns | None = None
) -> NamedColumns:
    """Take the columns that the user names, else those of the run's own table (`own`), else those with a usual name.

    Raises:
        AnnotationError: a column does not exist, or none says which file is meant.
    """
    for name in (*asked.files, *asked.texts):
        if name not in columns:
            why = "" if name in asked.files else f" (the question that the scorer asks names {{{name}}})"
            raise AnnotationError(f"{path}: {_no_column(name, columns)}{why}.")
    own = (own or NamedColumns()).of(columns)
    lowered = {name.lower(): name for name in reversed(columns)}
    chosen = dict[str, str | None]()
    for kind, usual in NAMES.items():
        name = getattr(asked, kind)
        if name is not None and name not in columns:
            raise AnnotationError(f"{path}: {_no_column(name, columns)}.")
        chosen[kind] = name or getattr(own, kind) or next((lowered[one] for one in usual if one in lowered), None)
    if chosen["id"] is None and chosen["path"] is None:
        usual = (*NAMES["id"], *NAMES["path"])
        raise AnnotationError(
            f"{path}: no column says which file is meant (none is called {', '.join(usual)}); name it with --id-column "
            f"or --path-column. Its columns are: {listed(columns, shown=20)}."
        )
    path_column, title, description = (chosen[kind] for kind in ("path", "title", "description"))
    files = asked.files if asked.path or asked.files else own.files
    return replace(asked, id=chosen["id"], path=path_column, title=title, description=description, files=files)


def _no_column(name: str, columns: Sequence[str]) -> str:
    return f"no column {name!r}{nearest_of(name, tuple(columns))}. Its columns are: {listed(columns, shown=20)}"


class TableSource(InputSource):
    """Rows of a table; an id, or the path where there is a column for it, names a file below the folder `videos`."""

    def __init__(self, path: Path, *, videos: Path, asked: NamedColumns, own: NamedColumns | None = None) -> None:
        self.path, self._name = path, path.name
        own = own or NamedColumns()
        self._stream = _opened(path, id_column=asked.id or own.id or "Id", header=own.header)
        self._columns = choose_columns(path, self._stream.columns, asked, own)
        self._folder = MediaFolder(videos, check_sizes=False, on_link=ON_LINK)
        self._state = self._stamp()
        files = "" if self._columns.path else f" <{self._columns.id}>.*"
        where = f"Files{files} are looked for in {videos} (--videos)."
        self.notes = (*self._stream.notes, f"{path.name}: {self._columns.sentence()}. {where}")

    def __iter__(self) -> Iterator[SourceEntry]:
        if self._stamp() != self._state:
            raise AnnotationError(f"{self.path} has changed while it was used; give the command again.")
        given = self._columns
        usual = {kind: getattr(given, kind) for kind in NAMES}
        names = tuple(dict.fromkeys([*filter(None, usual.values()), *given.files, *given.texts]))
        at = {kind: names.index(name) if name else None for kind, name in usual.items()}
        more = [(name, names.index(name)) for name in (*given.files, *given.texts)]
        at_id = next(place for place in (at["id"], at["path"]) if place is not None)
        at_path = next(place for place in (at["path"], at["id"]) if place is not None)
        for row in self._stream.rows(names):
            entry = self._entry(row, (at_id, at_path, at["title"], at["description"]))
            yield self._with_more(entry, row.cells, more) if more and not entry.fault else entry

    def _entry(self, row: StreamedRow, at: tuple[int, int, int | None, int | None]) -> SourceEntry:
        """at: places of id, path, title and description among the row's cells."""
        number, cells, fault = row
        at_id, at_path, at_title, at_text = at
        name, path = cells[at_id], None
        title = None if at_title is None else cells[at_title] or None
        text = None if at_text is None else cells[at_text] or None
        mark = None if fault else hash(cells) or 1
        if not fault and not name.strip():
            fault = f"{self._columns.id or self._columns.path} is empty"
        if not fault:
            path, fault = self._folder.look_up(cells[at_path])
        if not fault and not ((title is None or is_text(title)) and (text is None or is_text(text))):
            fault = "its texts hold a byte that is not UTF-8"
        return SourceEntry(name, path, title, text, fault, mark, number, self._name)

    def _with_more(self, entry: SourceEntry, cells: Sequence[str], more: Sequence[tuple[str, int]]) -> SourceEntry:
        """Add further files and texts. more: their columns and places among the cells."""
        given = {name: cells[at] for name, at in more}
        found = {name: self._folder.look_up(given[name]) for name in self._columns.files}
        faults = [f"{name}: {fault}" for name, (_, fault) in found.items() if fault]
        texts = tuple((name, given[name]) for name in self._columns.texts if given[name])
        if not all(is_text(text) for _, text in texts):
            faults.append("its texts hold a byte that is not UTF-8")
        files = tuple(str(path) for path, _ in found.values())
        return entry._replace(fault="; ".join(faults), files=files, texts=texts)

    def digest(self) -> str:
        """The table's content, the folder of its files, and the columns."""
        return f"{content_hash(self.path)} {os.path.abspath(self._folder.root)} {self._columns}"  # noqa: PTH100 (resolves no links)

    def _stamp(self) -> tuple[int, int]:
        state = self.path.stat()
        return state.st_size, state.st_mtime_ns


def _opened(path: Path, *, id_column: str, header: Sequence[str]) -> TableStream:
    """Open a table; header: what its columns are called where it has no header."""
    try:
        return open_table(path, id_column=id_column)
    except NoHeaderError:
        if not header:
            raise
        return open_table(path, id_column=id_column, names=header)


class FileSource(InputSource):
    """Files in their order. reasons: why some of them, or folders, cannot be read, by path."""

    def __init__(
        self,
        files: Sequence[tuple[str, str]],
        *,
        reasons: Mapping[str, str],
        title: str | None,
        description: str | None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._files, self._reasons, self.notes = files, reasons, notes
        self._title, self._description = title, description

    def __iter__(self) -> Iterator[SourceEntry]:
        for path, name in self._files:
            yield SourceEntry(name, path, self._title, self._description, self._reasons.get(path, ""), hash(path) or 1)

    def digest(self) -> str:
        """The list of files and what is said of them."""
        found = hashlib.sha256(repr((self._title, self._description)).encode("utf-8", "backslashreplace"))
        for path, name in self._files:
            found.update(os.fsencode(f"{os.path.abspath(path)}\0{name}\0"))  # noqa: PTH100
        return found.hexdigest()


def file_sources(
    inputs: Iterable[Path], *, suffixes: Sequence[str], title: str | None, description: str | None
) -> list[FileSource]:
    """Make a source of each file and folder; all their files together have distinct ids, and none comes twice.

    Raises:
        AnnotationError: an input does not exist, or a folder holds nothing that could be scored.
    """
    seen, given, found = set[str](), list[tuple[str | None, str]](), list[tuple[int, dict[str, str], list[str]]]()
    for path in map(str, inputs):
        if not os.path.lexists(path):
            raise AnnotationError(f"{path}: no such file or folder")
        folder, files, reasons, notes = _listed(path, suffixes)
        new = [file for file in files if os.path.normpath(file) not in seen]
        seen.update(map(os.path.normpath, new))
        given += [(folder, file) for file in new]
        found.append((len(new), reasons, notes))
    ids, sources, begin = distinct_ids(given), list[FileSource](), 0
    for num_files, reasons, notes in found:
        named = [(given[at][1], ids[at]) for at in range(begin, begin + num_files)]
        begin += num_files
        closed = [(place, place) for place in reasons.keys() - {file for file, _ in named} if os.path.isdir(place)]  # noqa: PTH112
        sources.append(
            FileSource(
                named + sorted(closed), reasons=reasons, title=title, description=description, notes=tuple(notes)
            )
        )
    return sources


def _listed(path: str, suffixes: Sequence[str]) -> tuple[str | None, list[str], dict[str, str], list[str]]:
    """Return the folder (None for a file), its files, why some cannot be read, and notes."""
    if not os.path.isdir(path):  # noqa: PTH112 (pathlib's raises where a folder on the way is closed)
        reason = why_unreadable(Path(path))
        return None, [path], {path: reason} if reason else {}, []
    found = find_media(path, suffixes=suffixes)
    others = f"passed over: {found.sentence()}" if found.passed_over else ""
    if not found.files and not found.unreadable:
        wanted = "videos or images" if set(IMAGE) <= set(suffixes) else "videos"
        empty = others or "it is empty"
        raise AnnotationError(f"{path}: no {wanted} in this folder or below ({empty}){_other_ways(found)}")
    return path, found.files, found.unreadable, [f"{path}: {others}."] if others else []


def _other_ways(found: Found) -> str:
    """Say how the files that were passed over are scored."""
    passed_over = found.passed_over.keys()
    sound = "; sound files are scored with --modal a" if passed_over & set(AUDIO) else ""
    images = "; of images a folder is scored by what reads them as images (--scorer vqa2_image); name single ones"
    return sound + (images if passed_over & set(IMAGE) else "")
