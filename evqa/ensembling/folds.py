"""Predictions of the folds of a data set as one member, which has a score for every item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from evqa.config.folds import CHOSEN, POOLED, by_fold, fold_of, fold_sets, missing_folds, twice_scored
from evqa.config.reading import read_yaml
from evqa.errors import RunError
from evqa.files.names import listed
from evqa.files.stored import read_object
from evqa.metrics.score_table import ScoreTable


@dataclass(frozen=True, kw_only=True)
class SourcePrediction:
    """Scores of one member. source: as it was given. files: of its scores, several where folds were joined.

    settings: of the run whose `predictions` folder the file lies in; empty for any other file.
    """

    name: str
    source: str
    files: tuple[Path, ...]
    table: ScoreTable
    settings: Mapping[str, Any]


class JoinedPredictions(NamedTuple):
    """Predictions, those of folds joined, sentences about how, and about folds that were left out."""

    predictions: list[SourcePrediction]
    notes: list[str]
    left_out: list[str]


def settings_of(file: Path) -> dict[str, Any]:
    """The settings of the run that a file of scores lies in; empty where it is no run's. Raises RunError, FileError."""
    config = file.parent.parent / "config.yaml"
    return read_yaml(config, kind=dict) if file.parent.name == "predictions" and config.is_file() else {}


def join_folds(predictions: Sequence[SourcePrediction]) -> JoinedPredictions:
    """Join predictions of runs that differ in `data.fold` alone; where no two do, all stay as they are.

    Each item has the score of the model that was not trained on it; where all folds have scored the same items, as
    those of a test split, the mean of their scores. Folds that are not complete are left out. Raises RunError where
    only some items were scored by several folds.
    """
    sets = [[predictions[place] for place in places] for places in fold_sets([one.settings for one in predictions])]
    if all(len(members) == 1 for members in sets):
        return JoinedPredictions(list(predictions), [], [])
    made = [members[0] if fold_of(members[0].settings) is None else _joined(members) for members in sets]
    found = [one for one in made if isinstance(one, SourcePrediction)]
    joined = [
        (members, one)
        for members, one in zip(sets, made, strict=True)
        if len(members) > 1 and isinstance(one, SourcePrediction)
    ]
    return JoinedPredictions(found, _notes(joined), [one for one in made if isinstance(one, str)])


def _notes(joined: Sequence[tuple[Sequence[SourcePrediction], SourcePrediction]]) -> list[str]:
    """What is to be known about members that were made of several predictions."""
    pooled, means = list[SourcePrediction](), list[str]()
    for members, one in joined:
        if len(one.table.values) > len(members[0].table.values):
            pooled += members
        else:
            means.append(one.name)
    notes = [*([POOLED] if pooled else []), *([CHOSEN] if any(map(_is_chosen, pooled)) else [])]
    if means:
        notes.append(f"All folds have scored the same items; the member is the mean of their scores: {listed(means)}.")
    return notes


def _joined(members: Sequence[SourcePrediction]) -> SourcePrediction | str:
    """The member that folds make, or the reason why they make none."""
    places = by_fold([(one.source, one.settings) for one in members])
    folds = {fold: members[place] for fold, place in places.items()}
    first = next(iter(folds.values()))
    name = first.name if len({one.name for one in members}) == 1 else f"{first.name} and the other folds"
    if missing := missing_folds(first.settings, folds):
        return f"{name}: {missing}; left out."
    scores = {fold: one.table.values for fold, one in folds.items()}
    ids = first.table.values
    if all(values.keys() == ids.keys() for values in scores.values()):
        values = {id_: fmean(values[id_] for values in scores.values()) for id_ in ids}
    elif twice := twice_scored(scores):
        raise RunError(f"{name}: {twice}. Folds share no item, or all.")
    else:
        values = {id_: score for values in scores.values() for id_, score in values.items()}
    return SourcePrediction(
        name=name,
        source=f"{first.source} and the other folds",
        files=tuple(file for one in folds.values() for file in one.files),
        table=ScoreTable(label=first.table.label, values=values),
        settings=first.settings,
    )


def _is_chosen(prediction: SourcePrediction) -> bool:
    """Whether the checkpoint was chosen by this split's labels, as a record beside the scores says."""
    about = prediction.files[0].with_suffix(".json")
    return about.exists() and read_object(about).get("checkpoint") == "best.ckpt"
