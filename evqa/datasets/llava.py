"""Conversations about videos and images in LLaVA's form, as VQA2 (arXiv 2411.03795) publishes its training data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from evqa.datasets.base import LABELLED, Annotations, Dataset
from evqa.datasets.folder import MediaFolder
from evqa.datasets.places import listed, missing_videos, require_places
from evqa.datasets.rows import Columns, read_row, scale_reader
from evqa.datasets.splits import Records, check_ids
from evqa.datasets.tables import FileRow, FileTable, to_texts
from evqa.files.json_list import read_list
from evqa.media.suffixes import IMAGE, VIDEO
from evqa.types import MEDIA, Failure, Record

ID, FILES, IS_VIDEO, TURNS = "Id", "image", "frames per sec", "conversations"


class _ListContent(NamedTuple):
    """What one list gave. ids: of all rows, also of rejected ones."""

    records: Records
    rejects: tuple[Failure, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LlavaList(Dataset):
    """Lists in JSON of `{"image": FILE or [FILE, FILE], "frames per sec": 1, "conversations": [...], "gt_score": 57}`.

    A row with `frames per sec`, whatever its value, names videos, a row without it still images. An id is `<name of the
    list>/<number of the row>`: a list has many questions about one video, and its own ids need not differ. A list is
    read row by row; its text is not held.

    path: the training list, or several; val_path, test_path: further ones, likewise. root: the folder of the files.
    turns_column: conversations; they replace the prompt's question, and `label.name` may be missing. null: the prompt
    asks, and a score must be there. group_column: what stays on one side of every split beside the rows of one file;
    null for nothing. tag_columns, follow_links, origin: as in `Table`.
    """

    path: str | list[str]
    root: str
    val_path: str | list[str] | None = None
    test_path: str | list[str] | None = None
    turns_column: str | None = TURNS
    group_column: str | None = None
    tag_columns: list[str] = field(default_factory=list)
    follow_links: bool = False
    origin: str | None = None

    def sources(self) -> tuple[str, ...]:
        """All given lists and the folder of their files."""
        train, val, test = map(listed, (self.path, self.val_path, self.test_path))
        return (*train, self.root, *(val or [""]), *(test or [""]))

    def read(self) -> Annotations:
        """Read the given lists; raises AnnotationError where one cannot be used."""
        given = {"train": self.path, "val": self.val_path, "test": self.test_path}
        files = [(split, file) for split, one in given.items() for file in listed(one)]
        if self.origin:
            require_places(self.root, [file for _, file in files], videos=Path(self.root), origin=self.origin)
        folder = MediaFolder(Path(self.root), follow_links=self.follow_links)
        splits, ids, rejects = dict[str, Records](), dict[str, tuple[str, ...]](), tuple[Failure, ...]()
        for split, file in files:
            part = self._read_list(Path(file), folder, needs_label=self.turns_column is None and split in LABELLED)
            splits[split] = (*splits.get(split, ()), *part.records)
            ids[split] = (*ids.get(split, ()), *part.ids)
            rejects += part.rejects
        for split, records in splits.items():
            check_ids(split, records)
        notes = missing_videos(rejects, origin=self.origin) if self.origin else ()
        return Annotations(splits=splits, rejects=rejects, ids=ids, notes=notes)

    def _read_list(self, path: Path, folder: MediaFolder, *, needs_label: bool) -> _ListContent:
        records, rejects, ids, names = list[Record](), list[Failure](), list[str](), dict[str, None]()
        read_label = scale_reader(self.label)
        for number, value in enumerate(read_list(path), 1):
            name = f"{path.stem}/{number}"
            ids.append(name)
            names.update(dict.fromkeys(value if isinstance(value, dict) else ()))
            try:
                row, columns = self._row(value, FileRow(number, number, {ID: name}))
            except (ValueError, RecursionError) as error:
                record, faults = None, [str(error)]
            else:
                record, faults = read_row(row, columns, folder, read_label, needs_label)
                faults += [] if record is None else _misfits(record, is_video=IS_VIDEO in value)
            if record and not faults:
                records.append(record)
            else:
                rejects.append(Failure(id=name, reason="; ".join(faults), row=number, table=path.name))
        if names:
            table = FileTable(path, tuple(names), (), ())
            table.require(*([self.label.name] if needs_label else []), *self._further())
            self.text_columns(table, {})
        return _ListContent(tuple(records), tuple(rejects), tuple(ids))

    def _further(self) -> tuple[str, ...]:
        return (*filter(None, [self.turns_column, self.group_column]), *self.tag_columns)

    def _row(self, value: Any, row: FileRow) -> tuple[FileRow, Columns]:
        """Turn a value of the list into texts, each file in a column of its own. Raises ValueError with a sentence."""
        files = value.get(FILES) if isinstance(value, dict) else None
        files = files if isinstance(files, list) else [files]
        texts = to_texts(
            {**value, FILES: ""} if isinstance(value, dict) else value, (TURNS, self.turns_column or TURNS)
        )
        if not files or not all(isinstance(file, str) for file in files):
            raise ValueError(f"names no file; {FILES!r} is a file, or a list of files")
        places = {FILES if len(files) == 1 else f"{FILES} {at}": file for at, file in enumerate(files, 1)}
        columns = Columns(
            id=ID,
            label=self.label.name,
            texts={name: name for name in self.asked},
            paths=tuple(places),
            turns=self.turns_column,
            group=self.group_column,
            tags=tuple(self.tag_columns),
        )
        empty = dict.fromkeys((self.label.name, *self._further(), *self.asked), "")
        return replace(row, values=empty | texts | places | row.values), columns


def _misfits(record: Record, *, is_video: bool) -> list[str]:
    """Say where a row's files are not of its kind, and where its places for media do not fit its files."""
    if wrong := [path.name for path in record.paths if path.suffix.lower() in (IMAGE if is_video else VIDEO)]:
        has, kind, other = ("has", "an image", "videos") if is_video else ("has no", "a video", "images")
        return [f"{has} {IS_VIDEO!r}, as rows of {other} have, and {wrong[0]} is {kind}"]
    places, files = sum(turn.text.count(MEDIA) for turn in record.turns), len(record.paths)
    if not record.turns or places == files or (is_video and places == 2 * files):
        return []
    rule = "a video has one, or two (its frames, then its motion)" if is_video else "an image has one"
    counted = f"{places} place{'' if places == 1 else 's'} for media (<image>)"
    return [f"its conversation has {counted}, and it names {files} file{'' if files == 1 else 's'}; {rule}"]
