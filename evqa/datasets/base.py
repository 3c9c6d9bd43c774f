"""What every data set has in common: from given tables to the splits of a run."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from evqa.datasets import manifest
from evqa.datasets.copies import alike
from evqa.datasets.duplicates import same_content
from evqa.datasets.splits import Records, find_leaks, hold_out, join_groups, limit_splits, split_folds
from evqa.datasets.tables import FileTable
from evqa.errors import AnnotationError, ConfigError
from evqa.files.names import listed
from evqa.types import Failure, LabelScale

LABELLED = ("train", "val")  # splits whose every row needs a label
# What is written beside the scores of an item, for slices in a report; tags have other names.
FACTS = ("duration", "has_audio", "title_chars", "description_chars")
SHOWN = 10  # items that one message lists


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Records by split, and the rows that could not be used.

    splits: "train" and "val", "test" and "predict" where such tables are given, "holdout" (the given validation table)
        in training by folds. Only records of "test" and "predict" may lack a label. dropped: usable rows that were left
        out on purpose (data.overlap=drop), with reasons. ids: all that a table names, also those of rejects, each once
        in the table's order (as `read` gives them). notes: sentences worth telling.
    """

    splits: Mapping[str, Records]
    rejects: tuple[Failure, ...] = ()
    dropped: tuple[Failure, ...] = ()
    ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def records(self) -> Records:
        """All records of all splits."""
        return tuple(record for records in self.splits.values() for record in records)

    def rejects_of(self, split: str) -> tuple[Failure, ...]:
        """Rejects whose id the split's own table names; all others, of a table that is divided too, are of training."""
        others = [name for name in self.splits if name != "train"] if split == "train" else [split]
        named = {id_ for name in others for id_ in self.ids.get(name, ())}
        if split == "train":
            named -= set(self.ids.get("train", ()))
        return tuple(reject for reject in self.rejects if (reject.id in named) != (split == "train"))


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """A data set as its YAML describes it; `load()` reads tables and names files, it opens no video.

    label: column and scale of the label. val_fraction: part of the training table that is held out where no
    validation table is given; 0 holds out nothing. folds / fold: instead, train on all folds but number `fold`
    (0 to folds - 1) and validate on that one. test_fraction: part of the training table that is held out as the test
    split before, where no test table is given. split_seed: of all three, apart from the seed of the training; other
    seeds are other random splits. limit: smoke run on about so many records of train and val together, stratified by
    label. overlap: what happens to training records whose id or file is also in the validation or test table: error, or
    drop (no failures, but listed). copies: what counts as the same file: exact, the same bytes; near, also videos that
    look the same (encoded or scaled anew), as `evqa.prepare` has found. prepared: folder for what `evqa.prepare` learns
    about the files.
    """

    label: LabelScale = field(default_factory=LabelScale)
    val_fraction: Annotated[float, "0 <= val_fraction < 1"] = 0.1
    test_fraction: Annotated[float, "0 <= test_fraction < 1"] = 0.0
    split_seed: Annotated[int, "0 <= split_seed"] = 0
    folds: Annotated[int, "2 <= folds"] | None = None
    fold: Annotated[int, "0 <= fold"] | None = None
    limit: Annotated[int, "2 <= limit"] | None = None
    overlap: Literal["error", "drop"] = "error"
    copies: Literal["exact", "near"] = "exact"
    prepared: str = "cache/prepared"
    asked: tuple[str, ...] = field(default=(), init=False)  # texts that the prompt names, see `asking`

    def __post_init__(self) -> None:
        problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    @abstractmethod
    def read(self) -> Annotations:
        """Read the given tables as they are: "train", "val", "test", "predict", as far as they are given.

        Raises:
            AnnotationError: a table as a whole cannot be used.
        """

    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Files and folders that define the data set; they name its folder below `prepared`."""

    def problems(self) -> Iterable[str]:
        """Sentences about values that cannot work together."""
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                yield f"data.{name}={getattr(self, name)}: give a fraction of at least 0 and below 1."
        if (self.folds is None) != (self.fold is None):
            yield f"data.folds={self.folds} data.fold={self.fold}: give both, e.g. data.folds=5 data.fold=0, or none."
        elif self.folds is not None and self.fold is not None and not 0 <= self.fold < self.folds:
            yield f"data.fold={self.fold}: with data.folds={self.folds} give 0 to {self.folds - 1}."
        if self.folds is not None and self.folds < 2:
            yield f"data.folds={self.folds}: give at least 2."
        if self.limit is not None and self.limit < 2:
            yield f"data.limit={self.limit}: give at least 2 (one to train on, one to validate on)."

    def asking(self, names: Iterable[str]) -> Self:
        """Return this data set with further texts in its records: the columns that a prompt names."""
        other = copy(self)
        object.__setattr__(other, "asked", tuple(names))
        return other

    def text_columns(self, table: FileTable, own: Mapping[str, str | None]) -> dict[str, str]:
        """Name the column of every text: `own` as the data set has it, others by the very name that the prompt uses.

        Raises:
            ConfigError: the prompt names a text that the table does not have.
        """
        given = {name: column for name, column in own.items() if column}
        columns = given | {name: given.get(name, name) for name in self.asked}
        asked = [name for name in self.asked if columns[name] not in table.columns]
        if lacks := table.lacks(columns[name] for name in asked):
            names = ", ".join(f"{{{name}}}" for name in asked)
            raise ConfigError([f"prompt.question names {names}, but {lacks}"])
        return columns

    def makes(self) -> Path | None:
        """The folder that reading would make, where the data are not there yet; most data sets make nothing."""
        return None

    def prepared_folder(self) -> Path:
        """The folder of this data set's manifest and rejects; another table or media folder has another one."""
        places = [str(Path(source).absolute()) for source in self.sources()]
        name = hashlib.sha256("\n".join(places).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return Path(self.prepared) / f"{type(self).__module__.rpartition('.')[2]}-{name}"

    def load(self) -> Annotations:
        """Read the tables and divide them into the splits of a run.

        Raises:
            AnnotationError: a table cannot be used, nothing usable is left, or two tables share ids or files.
        """
        given = self.read()
        if self.test_fraction and "test" in given.splits:
            raise AnnotationError(
                f"data.test_fraction={self.test_fraction}: the data set has test videos already; leave the fraction 0."
            )
        contents = same_content(path for record in given.records for path in record.paths) | self._near_copies(
            given.records
        )
        kept, dropped = self._part_tables(given.splits, contents)
        kept = {name: join_groups(records, contents) for name, records in kept.items()}
        if "train" not in kept:
            return _not_empty(replace(given, splits=kept, dropped=dropped))
        _not_empty(Annotations(splits={"train": kept["train"]}, rejects=(*given.rejects, *dropped), notes=given.notes))
        splits = self._divide(self._with_test(kept))
        if self.limit is not None:
            splits = limit_splits(splits, limit=self.limit, seed=self.split_seed)
        groups = {record.id: record.group for record in given.records if record.group}
        is_divided = any(records and name not in given.splits for name, records in splits.items())
        notes = (*given.notes, *_group_notes(splits, groups, is_divided), *_doubts(kept["train"], self.label))
        ids = {"holdout" if name == "val" and "holdout" in splits else name: of for name, of in given.ids.items()}
        return Annotations(splits=splits, rejects=given.rejects, dropped=dropped, ids=ids, notes=notes)

    def _near_copies(self, records: Records) -> dict[Path, str]:
        """Name the group of every file that looks like another one; those of equal bytes are among them."""
        if self.copies == "exact":
            return {}
        facts = {Path(one.path): one for one in manifest.read_manifest(self.prepared_folder() / "manifest.csv")}
        places = {path.absolute(): path for record in records for path in record.paths}
        unknown = [path for path in places if path not in facts or not facts[path].is_fresh(visually_hashed=True)]
        if unknown:
            raise AnnotationError(
                f"data.copies=near: {len(unknown)} of {len(places)} files have no visual hash (the first: "
                f"{unknown[0]}). Run `python -m evqa.prepare` with the same data.* first, without data.limit."
            )
        groups = alike({str(path): facts[path].visual_hash for path in places})
        return {places[Path(path)]: name for path, name in groups.items()}

    def _part_tables(
        self, given: Mapping[str, Records], contents: Mapping[Path, str]
    ) -> tuple[dict[str, Records], tuple[Failure, ...]]:
        ordered = {name: given[name] for name in ("test", "val", "train") if name in given}
        leaks = {(name, record.id): reason for name, record, reason in find_leaks(ordered, contents)}
        if leaks and self.overlap == "error":
            listed = [f"  {name} {record_id}: {reason}" for (name, record_id), reason in leaks.items()]
            raise AnnotationError(
                f"{len(leaks)} records stand on both sides of a split; set data.overlap=drop to keep them only in the "
                f"validation or test table:\n{_shorten(listed)}"
            )
        kept = {name: tuple(r for r in given[name] if (name, r.id) not in leaks) for name in given}
        return kept, tuple(Failure(id=name, reason=reason) for (_, name), reason in leaks.items())

    def _with_test(self, given: dict[str, Records]) -> dict[str, Records]:
        """Hold out the test split, where there is a fraction for it."""
        if not self.test_fraction:
            return given
        rest, held = hold_out(given["train"], fraction=self.test_fraction, seed=self.split_seed)
        return given | {"train": rest, "test": held}

    def _divide(self, given: dict[str, Records]) -> dict[str, Records]:
        if self.folds is not None and self.fold is not None:
            rest, held = split_folds(given["train"], num_folds=self.folds, fold=self.fold, seed=self.split_seed)
            renamed = {("holdout" if name == "val" else name): records for name, records in given.items()}
            return renamed | {"train": rest, "val": held}
        if "val" in given or self.val_fraction == 0:
            return {"val": (), **given}
        rest, held = hold_out(given["train"], fraction=self.val_fraction, seed=self.split_seed)
        return given | {"train": rest, "val": held}


def _group_notes(splits: Mapping[str, Records], groups: Mapping[str, str], is_divided: bool) -> Iterable[str]:
    """Say how many groups each split has, unless each is in a table of its own; groups: of records, by id."""
    found = {name: sorted({groups[one.id] for one in records if one.id in groups}) for name, records in splits.items()}
    in_order = sorted(found.items(), key=lambda split: split[0] != "train")
    counts = [f"{len(names)} in {split} ({listed(names, shown=3)})" for split, names in in_order if names]
    twice = [name for name, count in Counter(itertools.chain(*found.values())).items() if count > 1]
    if not groups or not (is_divided or twice):
        return
    both = f"; {len(twice)} on more than one side: {listed(twice, shown=3)}" if twice else ""
    num_without = sum(one.id not in groups for records in splits.values() for one in records)
    without = f"; rows without one: {num_without}" if num_without else ""
    yield f"Groups of data.group_column: {', '.join(counts)}{both}{without}."


def _doubts(records: Records, scale: LabelScale) -> Iterable[str]:
    labels = [record.label for record in records if record.label is not None]
    low, high = min(labels, default=0.0), max(labels, default=0.0)
    if len(labels) >= SHOWN and high - low < 0.05 * (scale.high - scale.low):
        yield (
            f"All labels lie in {low:g}..{high:g}, a small part of data.label.range={list(scale.range)}: is the range "
            "right?"
        )


def _not_empty(annotations: Annotations) -> Annotations:
    if not annotations.records:
        listed = [f"  {reject}" for reject in annotations.rejects]
        text = f"no usable row is left:\n{_shorten(listed)}" if listed else "the table has no rows."
        raise AnnotationError("\n".join([text, *annotations.notes]))
    return annotations


def _shorten(lines: list[str]) -> str:
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(lines[:SHOWN] + more)
