"""Runs of the folds of a data set joined into one: every item scored by the model that was not trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from evqa.config.identity import fingerprint
from evqa.errors import RunError
from evqa.files.names import listed
from evqa.reporting.runs import Run

POOLED = (
    "Scores of folds are pooled: each is of the model that was not trained on the item. Models of different folds may "
    "differ in centre and scale, which lowers a pooled correlation; --repeats gives the medians over the folds."
)
CHOSEN = "Each fold's checkpoint was chosen on the fold's own items, so its scores are too high."


class JoinedRuns(NamedTuple):
    """Runs, those of folds joined, and sentences about them."""

    runs: list[Run]
    notes: list[str]


def join_folds(runs: Sequence[Run]) -> JoinedRuns:
    """Join runs that differ in `data.fold` alone; where no two do, all stay as they are.

    Folds that are not complete are one run with a problem. Raises RunError where two folds have scored the same item.
    """
    sets = dict[str, list[Run]]()
    for run in runs:
        sets.setdefault(_key(run), []).append(run)
    joined = [members for members in sets.values() if len(members) > 1]
    if not joined:
        return JoinedRuns(list(runs), [])
    found = [members[0] if _fold(members[0]) is None else _join(members) for members in sets.values()]
    is_chosen = any(run.record.get("checkpoint") == "best.ckpt" for members in joined for run in members)
    return JoinedRuns(found, [POOLED, CHOSEN] if is_chosen else [POOLED])


def _fold(run: Run) -> int | None:
    fold: int | None = _data(run).get("fold")
    return fold


def _data(run: Run) -> Mapping[str, Any]:
    return run.config.get("data") or {}


def _key(run: Run) -> str:
    if _fold(run) is None:
        return str(run.path)
    return fingerprint({**run.config, "data": {**_data(run), "fold": None}})


def _join(members: Sequence[Run]) -> Run:
    first, count = members[0], int(_data(members[0])["folds"])
    folds = {_fold(run): run for run in members if run.scores is not None}
    missing = [str(fold) for fold in range(count) if fold not in folds]
    problem = f"of its {count} folds {listed(missing)} have no scores" if missing else None
    scores = dict[str, float]()
    for fold, run in folds.items():
        twice = [id_ for id_ in run.scores or {} if id_ in scores]
        if twice:
            raise RunError(f"{run.name}: fold {fold} has scored items of another fold, for instance {listed(twice)}.")
        scores |= run.scores or {}
    return replace(
        first,
        name=f"{first.name} and the other folds",
        config={**first.config, "data": {**_data(first), "fold": f"0..{count - 1}"}},
        overrides=tuple(line for line in first.overrides if line.lstrip("+").partition("=")[0] != "data.fold"),
        history=(),
        scores=None if missing else scores,
        items={id_: item for run in members for id_, item in run.items.items()},
        record={"num_failed": sum(run.record.get("num_failed") or 0 for run in members)},
        problem=problem,
    )
