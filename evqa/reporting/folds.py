"""Runs of the folds of a data set joined into one: every item scored by the model that was not trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from evqa.config.folds import CHOSEN, POOLED, by_fold, fold_of, fold_sets, missing_folds, twice_scored, without_fold
from evqa.errors import RunError
from evqa.reporting.runs import Run

MEDIANS = "--repeats gives the medians over the folds."


class JoinedRuns(NamedTuple):
    """Runs, those of folds joined, and sentences about them."""

    runs: list[Run]
    notes: list[str]


def join_folds(runs: Sequence[Run]) -> JoinedRuns:
    """Join runs that differ in `data.fold` alone; where no two do, all stay as they are.

    Folds that are not complete are one run with a problem. Raises RunError where two folds have scored the same item.
    """
    sets = [[runs[place] for place in places] for places in fold_sets([run.config for run in runs])]
    joined = [members for members in sets if len(members) > 1]
    if not joined:
        return JoinedRuns(list(runs), [])
    found = [members[0] if fold_of(members[0].config) is None else _join(members) for members in sets]
    is_chosen = any(run.record.get("checkpoint") == "best.ckpt" for members in joined for run in members)
    return JoinedRuns(found, [f"{POOLED} {MEDIANS}", *([CHOSEN] if is_chosen else [])])


def _join(members: Sequence[Run]) -> Run:
    first = members[0]
    scored = [run for run in members if run.scores is not None]
    folds = by_fold([(str(run.path), run.config) for run in scored])
    problem = missing_folds(first.config, folds)
    parts = {fold: scored[place].scores or {} for fold, place in folds.items()}
    if twice := twice_scored(parts):
        raise RunError(f"{first.name}: {twice}. {MEDIANS}")
    return replace(
        first,
        name=f"{first.name} and the other folds",
        config=without_fold(first.config),
        overrides=tuple(line for line in first.overrides if line.lstrip("+").partition("=")[0] != "data.fold"),
        history=(),
        scores=None if problem else {id_: score for part in parts.values() for id_, score in part.items()},
        items={id_: item for run in members for id_, item in run.items.items()},
        record={"num_failed": sum(run.record.get("num_failed") or 0 for run in members)},
        problem=problem,
    )
