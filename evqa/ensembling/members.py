"""Predictions that are to be combined: read from runs or files, brought into one order of ids.

# N items, M members
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evqa.config.paths import is_unfinished
from evqa.ensembling.folds import SourcePrediction, join_folds, settings_of
from evqa.errors import AnnotationError, RunError
from evqa.files.names import listed
from evqa.files.stored import check_complete
from evqa.metrics import Groups
from evqa.metrics.score_table import GROUP, ID, ScoreTable, columns_of, read_ids, read_labels, read_rows, read_scores

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
UNFINISHED = "is not finished"


@dataclass(frozen=True, kw_only=True)
class Members:
    """Predictions of the same items, and their labels where known.

    scores_NM: in each member's own scale. labels_N: NaN where unknown; None where the table of targets has none.
    groups: of each item, None for one without; None where no item has a group. files: of each member's scores, several
    of one that was joined out of folds. notes: sentences about how that was done. left_out: sentences about folders
    without a finished run, folds that are not complete, and items that not all had, where the user allowed that.
    """

    names: tuple[str, ...]
    label: str
    ids: tuple[str, ...]
    scores_NM: Matrix
    labels_N: Vector | None = None
    groups: tuple[str | None, ...] | None = None
    files: tuple[tuple[Path, ...], ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def labelled(self) -> tuple[Matrix, Vector, Groups | None]:
        """Scores, labels and groups of the items whose label is known."""
        assert self.labels_N is not None
        known_N = ~np.isnan(self.labels_N)
        groups = self.groups and [self.groups[place] for place in np.flatnonzero(known_N).tolist()]
        return self.scores_NM[known_N], self.labels_N[known_N], groups

    def digest(self) -> str | None:
        """Fingerprint of the ids and their labels, to notice weights that meet the labels they were fitted on."""
        if self.labels_N is None:
            return None
        rows = sorted(f"{id_}\t{label!r}" for id_, label in zip(self.ids, map(float, self.labels_N), strict=True))
        return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def read_members(
    sources: Sequence[str], *, split: str, targets: Path | None, label: str | None, common: bool
) -> Members:
    """Read `[NAME=]PATH` sources, each a run folder or an `Id,<label>` file, and the targets.

    Without `targets`, the labels are those that runs keep beside their predictions. `common` keeps the ids that all
    have; otherwise any difference is an error that lists it. Raises AnnotationError or RunError.
    """
    useless = {source: why for source in sources if (why := _why_useless(_place(source)[1]))}
    if set(useless.values()) == {UNFINISHED} and len(useless) == len(set(sources)):
        raise RunError(f"Not one of the runs is finished ({listed(useless)}); run them to their end first.")
    sources = [source for source in sources if source not in useless] or sources
    given = [_read(source, split=split) for source in sources]
    label = label or _shared_label(given)
    predictions, notes, incomplete = join_folds(given)
    if not predictions:
        raise RunError(" ".join(incomplete))
    names, tables = _distinct(predictions), [one.table for one in predictions]
    files = [(name, file) for name, one in zip(names, predictions, strict=True) for file in one.files]
    wanted, labels = _targets(targets, label=label) if targets else (None, _kept_labels(files, label=label))
    groups = _groups([*filter(None, [targets]), *(path.with_suffix(".targets.csv") for _, path in files)])
    ids = wanted or list(tables[0].values)
    left_out = _differences(dict(zip(names, tables, strict=True)), ids, of=str(targets or names[0]))
    if left_out and not common:
        raise AnnotationError(
            "The predictions are not of the same ids:\n  "
            + "\n  ".join([*left_out, *incomplete])
            + "\n--common combines the ids that all have."
        )
    ids = [id_ for id_ in ids if all(id_ in table.values for table in tables)]
    if not ids:
        raise AnnotationError("No id occurs in all predictions.")
    return Members(
        names=tuple(names),
        label=label,
        files=tuple(one.files for one in predictions),
        ids=tuple(ids),
        scores_NM=np.array([[table.values[id_] for table in tables] for id_ in ids]),
        groups=tuple(groups.get(id_) for id_ in ids) if groups else None,
        labels_N=None if labels is None else np.array([labels.get(id_, np.nan) for id_ in ids]),
        notes=tuple(notes),
        left_out=(*(f"{source} {why} and left out." for source, why in useless.items()), *incomplete, *left_out),
    )


def _why_useless(folder: Path) -> str | None:
    """Say why a folder, perhaps one of many that a pattern named, holds no prediction; None where it may hold one."""
    if is_unfinished(folder):
        return UNFINISHED
    return "is no run" if folder.is_dir() and not (folder / "predictions").is_dir() else None


def _place(source: str) -> tuple[str, Path]:
    """Name (may be empty) and path of a source; a path that exists is never taken apart at its '='."""
    name, separator, rest = source.partition("=")
    path = Path(source)
    return (name, Path(rest)) if separator and not path.exists() and "/" not in name else ("", path)


def _read(source: str, *, split: str) -> SourcePrediction:
    name, file = _locate(source, split=split)
    return SourcePrediction(
        name=name, source=source, files=(file,), table=read_scores(file), settings=settings_of(file)
    )


def _locate(source: str, *, split: str) -> tuple[str, Path]:
    """Name of a member and the file of its scores. Raises RunError."""
    name, path = _place(source)
    if path.is_dir():
        file = path / "predictions" / f"{split}.csv"
        if not file.exists():
            raise RunError(
                f"{path}: no predictions/{split}.csv; is the run finished, and is '{split}' one of its splits?"
            )
        for kept in filter(Path.exists, (file, file.with_suffix(".targets.csv"))):
            check_complete(kept)
        return name or path.resolve().name, file
    return name or path.stem, path


def _distinct(predictions: Sequence[SourcePrediction]) -> list[str]:
    """Names that occur once; those that occur more often become their sources."""
    names = [one.name for one in predictions]
    distinct = [one.name if names.count(one.name) == 1 else one.source for one in predictions]
    twice = {name for name in distinct if distinct.count(name) > 1}
    if twice:
        raise AnnotationError(f"The same member is given more than once: {listed(sorted(twice))}.")
    return distinct


def _shared_label(predictions: Sequence[SourcePrediction]) -> str:
    if len({one.table.label for one in predictions}) > 1:
        each = ", ".join(f"{one.name}: {one.table.label}" for one in predictions)
        raise AnnotationError(f"The predictions name their scores differently ({each}); choose one with --label.")
    return predictions[0].table.label


def _targets(path: Path, *, label: str) -> tuple[list[str], dict[str, float] | None]:
    """Ids that are wanted, and their labels where the table has that column."""
    ids = read_ids(path)
    return ids, dict(read_labels(path, label=label).values) if label in columns_of(path) else None


def _kept_labels(files: Sequence[tuple[str, Path]], *, label: str) -> dict[str, float] | None:
    """The labels that runs keep beside their predictions, if any. Raises AnnotationError where they contradict."""
    kept: dict[str, float] = {}
    for name, file in files:
        path = file.with_suffix(".targets.csv")
        if not path.exists():
            continue
        columns = columns_of(path)
        if ID not in columns:
            raise AnnotationError(f"{path}: no column '{ID}'; the file has {', '.join(columns)}.")
        if label not in columns:
            continue
        for id_, value in read_labels(path, label=label).values.items():
            if kept.setdefault(id_, value) != value and not np.isnan([kept[id_], value]).all():
                raise AnnotationError(
                    f"{name} was scored with another label of {id_} ({value:g}, not {kept[id_]:g}): give --targets."
                )
    return kept or None


def _groups(tables: Iterable[Path]) -> dict[str, str]:
    """The groups that tables of targets name, by id; the first one that names an item's group decides."""
    found: dict[str, str] = {}
    for path in filter(Path.exists, tables):
        columns, rows = read_rows(path)
        if {ID, GROUP} <= set(columns):
            for row in rows:
                found.setdefault(row[ID], row[GROUP])
    return {id_: group for id_, group in found.items() if group}


def _differences(tables: dict[str, ScoreTable], ids: Iterable[str], *, of: str) -> list[str]:
    """One sentence for each prediction whose ids are not those of the first one or of the targets."""
    wanted, sentences = set(ids), []
    for name, table in tables.items():
        missing = [id_ for id_ in wanted if id_ not in table.values]
        extra = [id_ for id_ in table.values if id_ not in wanted]
        if missing:
            sentences.append(
                f"{name} lacks {len(missing)} of the {len(wanted)} ids of {of}: {listed(sorted(missing))}."
            )
        if extra:
            sentences.append(f"{name} has {len(extra)} ids that {of} has not: {listed(sorted(extra))}.")
    return sentences
