"""Runs that are the folds of one data set: their settings differ in `data.fold` alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from evqa.config.identity import fingerprint
from evqa.errors import RunError
from evqa.files.names import listed

Settings = Mapping[str, Any]

POOLED = (
    "Scores of folds are pooled: each is of the model that was not trained on the item. Models of different folds may "
    "differ in centre and scale, which lowers a pooled correlation."
)
CHOSEN = "Each fold's checkpoint was chosen on the fold's own items, so its scores are too high."


def fold_sets(runs: Sequence[Settings]) -> list[list[int]]:
    """Places of runs, those of one set of folds together; where no two are of one set, each by itself."""
    sets = dict[str, list[int]]()
    for place, settings in enumerate(runs):
        sets.setdefault(_key(settings) or str(place), []).append(place)
    return list(sets.values())


def fold_of(settings: Settings) -> int | None:
    """The fold that a run was validated on; None where its data set was divided otherwise."""
    fold: int | None = _data(settings).get("fold")
    return fold


def by_fold(runs: Sequence[tuple[str, Settings]]) -> dict[int, int]:
    """Places of the runs of one set, by fold, in its order. Raises RunError with two names where both are of one."""
    found = dict[int, int]()
    for place, (name, settings) in enumerate(runs):
        fold = fold_of(settings)
        assert fold is not None
        if fold in found:
            other = runs[found[fold]][0]
            raise RunError(f"{other} and {name} are both data.fold={fold} of the same settings: leave one out.")
        found[fold] = place
    return dict(sorted(found.items()))


def missing_folds(settings: Settings, folds: Collection[int]) -> str | None:
    """Say which folds of a set have no scores, where these `folds` have; None where all have."""
    count = int(_data(settings)["folds"])
    missing = [str(fold) for fold in range(count) if fold not in folds]
    return f"of its {count} folds {listed(missing)} have no scores" if missing else None


def without_fold(settings: Settings) -> dict[str, Any]:
    """The settings with all folds in place of one."""
    data = _data(settings)
    return {**settings, "data": {**data, "fold": f"0..{int(data['folds']) - 1}"}}


def twice_scored(scores: Mapping[int, Collection[str]]) -> str | None:
    """Say which fold has scored items of another one; None where every item is of one fold."""
    known = set[str]()
    for fold, ids in scores.items():
        if twice := [id_ for id_ in ids if id_ in known]:
            return f"fold {fold} has scored items of another fold, for instance {listed(twice)}"
        known.update(ids)
    return None


def _key(settings: Settings) -> str | None:
    return None if fold_of(settings) is None else fingerprint({**settings, "data": {**_data(settings), "fold": None}})


def _data(settings: Settings) -> Settings:
    return settings.get("data") or {}
