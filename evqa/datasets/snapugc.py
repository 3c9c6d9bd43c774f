"""SnapUGC: a published table of ids, texts and engagement beside a folder of `<Id>.mp4`.

Li et al., Delving Deep into Engagement Prediction of Short Videos, ECCV 2024; challenge split of VQualA 2025 EVQA.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from evqa.datasets.base import LABELLED, Annotations, Dataset
from evqa.datasets.folder import MediaFolder
from evqa.datasets.rows import Columns, ReadLabel, number_in, read_records, scale_reader
from evqa.datasets.splits import Records
from evqa.datasets.tables import FileTable, read_table
from evqa.errors import AnnotationError
from evqa.files.separated import Quoting
from evqa.types import Failure


@dataclass(frozen=True, kw_only=True)
class SnapUGC(Dataset):
    """`Id,Title,Description,Download_link[,ECR]` as published, columns in any order, links unused.

    csv / videos: training table and its folder of `<Id>.mp4`. val_csv, test_csv: further tables; their videos are
    searched for in `videos` unless they have a folder of their own. predict_csv: a table that is only to be scored; its
    labels are not read. Only the test table and that one may lack labels. A name that ends in .tsv has tabs. format:
    tsv_ranks is the older release (`Id, Video_len, order of ECR, order of NAWP, Title, Description, Link`, tabs, quotes
    without meaning); its rank is normalised to (rank - 0.5) / num_ranked. rank_1_is: which end rank 1 is; the release
    does not say, readers of it take larger ranks as more engaging, so the default is lowest. num_ranked: how many
    videos were ranked together, by default the largest rank in the given tables. group_column: e.g. a creator, whose
    videos stay on one side. follow_links: accept links that lead out of the folder.
    """

    videos: str
    csv: str | None = None
    val_csv: str | None = None
    val_videos: str | None = None
    test_csv: str | None = None
    test_videos: str | None = None
    predict_csv: str | None = None
    format: Literal["csv", "tsv_ranks"] = "csv"
    rank_1_is: Literal["lowest", "highest"] = "lowest"
    num_ranked: Annotated[int, "1 <= num_ranked"] | None = None
    group_column: str | None = None
    follow_links: bool = False

    def sources(self) -> tuple[str, ...]:
        """All given tables and folders."""
        given = (
            self.csv,
            self.videos,
            self.val_csv,
            self.val_videos,
            self.test_csv,
            self.test_videos,
            self.predict_csv,
        )
        return tuple(source or "" for source in given)

    def problems(self) -> Iterable[str]:
        """Some table is needed; ranks are normalised to 0-1, so no other scale can be declared for them."""
        yield from super().problems()
        if self.csv is None and self.predict_csv is None:
            yield "data.csv: give the training table."
        if self.format == "tsv_ranks" and self.label.range != (0.0, 1.0):
            yield f"data.label.range={list(self.label.range)}: ranks are normalised to 0-1; leave it at [0,1]."

    def read(self) -> Annotations:
        """Read the given tables; raises AnnotationError where one cannot be used."""
        given = {
            "train": (self.csv, self.videos),
            "val": (self.val_csv, self.val_videos),
            "test": (self.test_csv, self.test_videos),
            "predict": (self.predict_csv, self.videos),
        }
        tables = {name: self._read_table(Path(file), split=name) for name, (file, _) in given.items() if file}
        read_label = self._ranks(tables.values()) if self.format == "tsv_ranks" else scale_reader(self.label)
        splits, rejects = dict[str, Records](), list[Failure]()
        for name, table in tables.items():
            folder = MediaFolder(Path(given[name][1] or self.videos), follow_links=self.follow_links)
            splits[name], failures = self._read_records(table, folder, read_label, split=name)
            rejects += failures
        notes = tuple(note for table in tables.values() for note in table.notes)
        ids = {name: table.ids("Id") for name, table in tables.items()}
        return Annotations(splits=splits, rejects=tuple(rejects), ids=ids, notes=notes)

    @property
    def _label_column(self) -> str:
        return f"order of {self.label.name}" if self.format == "tsv_ranks" else self.label.name

    def _read_table(self, path: Path, *, split: str) -> FileTable:
        is_old = self.format == "tsv_ranks"
        has_tabs = is_old or path.suffix.lower() == ".tsv"
        quoting: Quoting = "none" if is_old else "rfc4180"
        table = read_table(path, format="tsv" if has_tabs else "csv", id_column="Id", quoting=quoting)
        if split == "val":
            table.require_labels(self._label_column, key="data.val_csv", instead="data.test_csv")
        needed = [self._label_column] if split in LABELLED else []
        table.require("Id", "Title", "Description", *needed, *filter(None, [self.group_column]))
        return table.with_decimal_points(self.label.name, high=self.label.high)

    def _read_records(
        self, table: FileTable, folder: MediaFolder, read_label: ReadLabel, *, split: str
    ) -> tuple[Records, tuple[Failure, ...]]:
        has_label = self._label_column in table.columns and split != "predict"
        columns = Columns(
            id="Id",
            texts=self.text_columns(table, {"title": "Title", "description": "Description"}),
            label=self._label_column if has_label else None,
            group=self.group_column,
        )
        return read_records(table, columns, folder, read_label=read_label, needs_label=split in LABELLED)

    def _ranks(self, tables: Iterable[FileTable]) -> ReadLabel:
        name = self._label_column
        cells = [row.values[name] for table in tables if name in table.columns for row in table.rows]
        num_ranked = self.num_ranked or max(
            (int(cell) for cell in cells if len(cell) < 19 and cell.isascii() and cell.isdigit()),
            default=0,
        )
        if not num_ranked:
            raise AnnotationError(f"{self.csv}: column {name!r} holds no rank (a whole number from 1).")

        def read(text: str) -> float:
            rank = number_in(text, name)
            if rank != int(rank) or not 1 <= rank <= num_ranked:
                raise ValueError(f"{name} is {text.strip()}, not a whole number in 1..{num_ranked}")
            place = (rank - 0.5) / num_ranked
            return place if self.rank_1_is == "lowest" else 1.0 - place

        return read
