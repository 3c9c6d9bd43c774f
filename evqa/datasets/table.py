"""Any table with named columns beside a folder of media files: LSVQ, KoNViD, your own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evqa.datasets.base import FACTS, LABELLED, Annotations, Dataset
from evqa.datasets.folder import MediaFolder
from evqa.datasets.rows import Columns, read_records, scale_reader
from evqa.datasets.splits import Records
from evqa.datasets.tables import FileTable, format_of, read_table
from evqa.types import Failure


@dataclass(frozen=True, kw_only=True)
class Table(Dataset):
    """A CSV, TSV or JSONL table (by its extension); `label.name` is the column of the score, `label.range` its scale.

    path: the training table; val_path, test_path: further ones. root: the folder of the media files. id_column: names
    the item. path_column: names its file below `root` (with or without extension), a list of columns one file each, in
    order (`[first,second]` for pairs); null looks for `<id>.mp4`. title_column, description_column: null where there is
    none; a prompt may name every other column too. turns_column: holds conversations (see `evqa.datasets.turns`), which
    replace the prompt's question; such a table may lack the label. group_column: null where there is none.
    tag_columns: kept beside the scores, for reports. quoting: none where quotes in a CSV or TSV are characters like any
    other. follow_links: accept links that lead out of the folder.
    """

    path: str
    root: str
    val_path: str | None = None
    test_path: str | None = None
    id_column: str = "id"
    path_column: str | list[str] | None = None
    title_column: str | None = None
    description_column: str | None = None
    turns_column: str | None = None
    group_column: str | None = None
    tag_columns: list[str] = field(default_factory=list)
    quoting: Literal["rfc4180", "none"] = "rfc4180"
    follow_links: bool = False

    def sources(self) -> tuple[str, ...]:
        """All given tables and the media folder."""
        return self.path, self.root, self.val_path or "", self.test_path or ""

    def read(self) -> Annotations:
        """Read the given tables; raises AnnotationError where one cannot be used."""
        folder = MediaFolder(Path(self.root), follow_links=self.follow_links)
        files = {"train": self.path, "val": self.val_path, "test": self.test_path}
        tables = {name: self._read_table(Path(file)) for name, file in files.items() if file}
        splits, rejects = dict[str, Records](), list[Failure]()
        for name, table in tables.items():
            splits[name], failures = self._read_records(table, folder, split=name)
            rejects += failures
        notes = tuple(note for table in tables.values() for note in table.notes)
        ids = {name: table.ids(self.id_column) for name, table in tables.items()}
        return Annotations(splits=splits, rejects=tuple(rejects), ids=ids, notes=notes)

    def problems(self) -> Iterable[str]:
        """Every file has a column of its own, and a tag a name of its own."""
        yield from super().problems()
        if isinstance(self.path_column, list) and len(set(self.path_column)) != len(self.path_column or ["one"]):
            yield f"data.path_column={self.path_column}: name each column once, one at least; null looks for <id>.mp4."
        if own := [name for name in self.tag_columns if name in (*FACTS, "Id", self.label.name)]:
            yield f"data.tag_columns={self.tag_columns}: {own[0]} is written beside the scores already; take it away."

    def _read_table(self, path: Path) -> FileTable:
        nested = filter(None, [self.turns_column])
        table = read_table(
            path, format=format_of(path), id_column=self.id_column, quoting=self.quoting, nested=tuple(nested)
        )
        return table.with_decimal_points(self.label.name)

    def _read_records(
        self, table: FileTable, folder: MediaFolder, *, split: str
    ) -> tuple[Records, tuple[Failure, ...]]:
        has_label = self.label.name in table.columns
        needs_label = split in LABELLED and (has_label or self.turns_column is None)
        paths = [self.path_column] if isinstance(self.path_column, str) else self.path_column or []
        named = (self.title_column, self.description_column, self.turns_column, self.group_column)
        others = (*paths, *filter(None, named), *self.tag_columns)
        table.require(self.id_column, *others, *([self.label.name] if needs_label else []))
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
