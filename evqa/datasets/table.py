"""Any table with named columns beside a folder of media files: LSVQ, KoNViD, your own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evqa.datasets.base import FACTS, LABELLED, Annotations, Dataset
from evqa.datasets.divided import divide
from evqa.datasets.folder import STEM, MediaFolder
from evqa.datasets.places import listed, missing_videos, require_places
from evqa.datasets.rows import Columns, read_records, scale_reader
from evqa.datasets.splits import Records, check_ids
from evqa.datasets.tables import FileTable, format_of, read_table
from evqa.errors import AnnotationError
from evqa.files.grid import UNREAD, NoHeaderError
from evqa.metrics.score_table import GROUP
from evqa.types import Failure

ONE_COLUMN = ("title_column", "description_column", "turns_column", "group_column")


@dataclass(frozen=True, kw_only=True)
class Table(Dataset):
    """A table of a kind that its extension tells (CSV, TSV, JSONL, a list in JSON, MATLAB's .mat).

    `label.name` is the column of the score, `label.range` its scale.

    path: the training table, or a list of several; val_path, test_path: further ones, likewise. root: the folder of the
    media files. columns: names of the columns of CSV or TSV files without a header, in order, `_` for one that is not
    read. id_column: names the item. path_column: names its file below `root` (with or without extension), a list
    of columns one file each, in order (`[first,second]` for pairs); null looks for `<id>.mp4`. path_pattern: where
    below `root` that file lies, as in `videos/{stem}_h264.mp4`; `{stem}` is the name without extension; null: at the
    name itself. split_column: divides the table at `path`: train_value, val_value and test_value are its cells in the
    rows of each split, null where it has none; rows with other cells are left out. title_column, description_column:
    null where there is none; a prompt may name every other column too. turns_column: holds conversations (see
    `evqa.datasets.turns`), which replace the prompt's question; such a table may lack the label. group_column: null
    where there is none. tag_columns: kept beside the scores, for reports. quoting: none where quotes in a CSV or TSV
    are characters like any other. follow_links: accept links that lead out of the folder. origin: where the data come
    from, told where tables or videos are missing.
    """

    path: str | list[str] | None = None
    root: str
    val_path: str | list[str] | None = None
    test_path: str | list[str] | None = None
    columns: list[str] = field(default_factory=list)
    id_column: str = "id"
    path_column: str | list[str] | None = None
    path_pattern: str | None = None
    split_column: str | None = None
    train_value: str | None = None
    val_value: str | None = None
    test_value: str | None = None
    title_column: str | None = None
    description_column: str | None = None
    turns_column: str | None = None
    group_column: str | None = None
    tag_columns: list[str] = field(default_factory=list)
    quoting: Literal["rfc4180", "none"] = "rfc4180"
    follow_links: bool = False
    origin: str | None = None

    def sources(self) -> tuple[str, ...]:
        """All given tables and the media folder; what a table is divided by, where it is."""
        train, val, test = map(listed, (self.path, self.val_path, self.test_path))
        parts = [f"{name}={value}" for name, value in self._values().items()]
        return (*(train or [""]), self.root, *(val or [""]), *(test or [""]), *parts)

    def read(self) -> Annotations:
        """Read the given tables; raises AnnotationError where one cannot be used."""
        given = {"train": self.path, "val": self.val_path, "test": self.test_path}
        files = [(split, file) for split, one in given.items() for file in listed(one)]
        if self.origin:
            videos = Path(self.root, (self.path_pattern or "").rpartition("/")[0])
            require_places(self.root, [file for _, file in files], videos=videos, origin=self.origin)
        folder = MediaFolder(Path(self.root), follow_links=self.follow_links, pattern=self.path_pattern)
        splits, ids = dict[str, Records](), dict[str, tuple[str, ...]]()
        rejects, notes = list[Failure](), list[str]()
        for name, file in files:
            for split, table in self._parts(name, self._read_table(Path(file))).items():
                records, failures = self._read_records(table, folder, split=split)
                splits[split] = (*splits.get(split, ()), *records)
                ids[split] = (*ids.get(split, ()), *table.ids(self.id_column))
                rejects += failures
                notes += table.notes
        for split, records in splits.items():
            check_ids(split, records)
        notes += missing_videos(rejects, origin=self.origin) if self.origin else ()
        return Annotations(splits=splits, rejects=tuple(rejects), ids=ids, notes=tuple(notes))

    def _parts(self, name: str, table: FileTable) -> dict[str, FileTable]:
        """The table's rows by split: of the training table those that a column names, else all in one."""
        if name != "train" or self.split_column is None:
            return {name: table}
        return divide(table, self.split_column, self._values())

    def _values(self) -> dict[str, str]:
        values = {"train": self.train_value, "val": self.val_value, "test": self.test_value}
        return {name: value for name, value in values.items() if value is not None}

    def problems(self) -> Iterable[str]:
        """Every file has a column of its own, a tag a name of its own, and every row of a divided table a split."""
        yield from super().problems()
        if not self.path and not self.test_path:
            yield "data.path: give the training table, or data.test_path where there is only a test table."
        if isinstance(self.path_column, list) and len(set(self.path_column)) != len(self.path_column or ["one"]):
            yield f"data.path_column={self.path_column}: name each column once, one at least; null looks for <id>.mp4."
        if twice := [name for name, count in Counter(self.columns).items() if count > 1 and name != UNREAD]:
            yield f"data.columns={self.columns}: names {twice[0]} twice; give each column a name of its own."
        if self.path_pattern is not None and self.path_pattern.count(STEM) != 1:
            yield f"data.path_pattern={self.path_pattern}: write {STEM} once, where the name of the file goes."
        if own := [name for name in self.tag_columns if name in (*FACTS, GROUP, "Id", self.label.name)]:
            yield f"data.tag_columns={self.tag_columns}: {own[0]} is written beside the scores already; take it away."
        yield from self._split_problems()

    def _split_problems(self) -> Iterable[str]:
        values = self._values()
        if bool(self.split_column) != bool(values):
            yield (
                f"data.split_column={self.split_column}: give it together with data.train_value, data.val_value or "
                "data.test_value, its cells in the rows of each split, or none of them."
            )
        files = {"val": self.val_path, "test": self.test_path}
        if twice := [name for name, file in files.items() if file and name in values]:
            yield f"data.{twice[0]}_path: data.{twice[0]}_value takes that split from data.path; leave one away."

    def _read_table(self, path: Path) -> FileTable:
        nested = filter(None, [self.turns_column])
        if self.columns and format_of(path) not in ("csv", "tsv"):
            raise AnnotationError(f"{path} names its own columns; take data.columns={self.columns} away.")
        try:
            table = read_table(
                path,
                format=format_of(path),
                id_column=self.id_column,
                quoting=self.quoting,
                names=self.columns,
                nested=tuple(nested),
            )
        except NoHeaderError as error:
            unread = [UNREAD] * (len(error.cells) - 2)
            names = ",".join([self.id_column, *unread, self.label.name])
            raise AnnotationError(
                f"{error} Or name them in order, {UNREAD} where one is not read: 'data.columns=[{names}]'."
            ) from None
        return table.with_decimal_points(self.label.name, high=self.label.high)

    def _keys_of_columns(self) -> dict[str, str]:
        """The setting that names a column, by the column."""
        found = {self.label.name: "data.label.name"}
        for key in ("tag_columns", *ONE_COLUMN, "path_column", "id_column"):
            value = getattr(self, key)
            found |= dict.fromkeys([value] if isinstance(value, str) else value or [], f"data.{key}")
        return found

    def _read_records(
        self, table: FileTable, folder: MediaFolder, *, split: str
    ) -> tuple[Records, tuple[Failure, ...]]:
        has_label = self.label.name in table.columns
        needs_label = split in LABELLED and (has_label or self.turns_column is None)
        if self.val_path and split == "val" and needs_label:
            table.require_labels(self.label.name, key="data.val_path", instead="data.test_path")
        paths = [self.path_column] if isinstance(self.path_column, str) else self.path_column or []
        others = (*paths, *filter(None, [getattr(self, key) for key in ONE_COLUMN]), *self.tag_columns)
        table.require(
            self.id_column, *others, *([self.label.name] if needs_label else []), keys=self._keys_of_columns()
        )
        columns = Columns(
            id=self.id_column,
            label=self.label.name if has_label else None,
            texts=self.text_columns(table, {"title": self.title_column, "description": self.description_column}),
            paths=tuple(paths),
            turns=self.turns_column,
            group=self.group_column,
            tags=tuple(self.tag_columns),
        )
        return read_records(table, columns, folder, read_label=scale_reader(self.label), needs_label=needs_label)
