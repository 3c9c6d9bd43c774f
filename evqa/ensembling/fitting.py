"""Weights from labels by nested cross-validation: convex ones, greedy selection, and ridge stacking.

A method is a *path*: for given scores and labels, weights for each strength of shrinkage. The inner cross-validation
picks the strength, the outer one gives every item a score from weights fitted without its label. Centres and spreads
are those of all items, which takes no label: folds of different centre and spread would lower the pooled score.

# N items, M members, K items that weights are fitted on, U groups (or single items) that stay together
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evqa.config.metric_names import with_groups
from evqa.ensembling.combination import Combination, Fitted
from evqa.ensembling.members import Matrix, Vector
from evqa.ensembling.paths import convex_path, greedy_path, ridge_path
from evqa.errors import AnnotationError
from evqa.metrics import Groups, challenge, count_groups
from evqa.metrics.correlation import is_constant
from evqa.metrics.groups import numbered

MIN_ITEMS_PER_FOLD = 3
NUM_INNER_FOLDS = 3  # only to pick one of a few strengths
PATHS: dict[Fitted, Callable[[Matrix, Vector], Matrix]] = {
    "weights": convex_path,
    "greedy": greedy_path,
    "stack": ridge_path,
}

Places = NDArray[np.intp]


def fit(
    method: Fitted,
    scores_NM: Matrix,
    labels_N: Vector,
    *,
    names: Sequence[str],
    groups: Groups | None = None,
    seed: int = 0,
) -> Combination:
    """Weights of a method from all items, the strength picked by cross-validation within them, groups kept together.

    They are scaled so that their sum is the regression line of the labels. A constant member gets weight 0.
    """
    centres_M, spreads_M = location(scores_NM)
    standard_NM, unit_N = standardised(scores_NM), _units(labels_N, groups)
    weights_M = _chosen(method, standard_NM, labels_N, np.arange(len(labels_N)), unit_N=unit_N, seed=seed)
    mixed_N = standard_NM @ weights_M
    slope = float(mixed_N @ labels_N / (mixed_N @ mixed_N)) if not is_constant(mixed_N) else 0.0
    return Combination(
        method=method,
        members=tuple(names),
        weights=tuple(map(float, weights_M * (slope if slope > 0 else 1.0))),
        centres=tuple(map(float, centres_M)),
        spreads=tuple(map(float, spreads_M)),
        offset=float(labels_N.mean()),
    )


def out_of_fold(
    method: Fitted,
    scores_NM: Matrix,
    labels_N: Vector,
    *,
    groups: Groups | None = None,
    num_folds: int = 5,
    seed: int = 0,
) -> Vector:
    """Scores [N], each from weights fitted (strength included) without its fold; in the labels' scale.

    Every fold's mixture is brought to the same spread over all items, and all together to the labels by one line, which
    changes no correlation.
    """
    standard_NM, unit_N = standardised(scores_NM), _units(labels_N, groups)
    held_out_N = np.zeros_like(labels_N)
    for number, fold in enumerate(stratified_folds(labels_N, unit_N=unit_N, num_folds=num_folds, seed=seed)):
        rest = np.setdiff1d(np.arange(len(labels_N)), fold)
        weights_M = _chosen(method, standard_NM, labels_N, rest, unit_N=unit_N, seed=seed + number + 1)
        held_out_N[fold] = _mixed(standard_NM, weights_M)[fold]
    return on_labels_scale(held_out_N, labels_N)


def best_member(scores_NM: Matrix, labels_N: Vector) -> int:
    """The place of the member with the highest challenge score; one without a score (constant) is never the best."""
    return int(np.argmax([np.nan_to_num(challenge(scores_N, labels_N).value, nan=-2) for scores_N in scores_NM.T]))


def on_labels_scale(scores_N: Vector, labels_N: Vector) -> Vector:
    """Scores on the regression line of the labels, where that rises; else with the labels' centre and spread."""
    centred_N = scores_N - scores_N.mean()
    if is_constant(scores_N):
        return np.full_like(labels_N, labels_N.mean())
    slope = float(centred_N @ labels_N / (centred_N @ centred_N))
    return np.asarray(labels_N.mean() + centred_N * (slope if slope > 0 else labels_N.std() / centred_N.std()))


def outer_folds(labels_N: Vector, *, groups: Groups | None = None, num_folds: int, seed: int) -> list[Places]:
    """The folds that scores are held out by. Raises AnnotationError where there are too few items or groups."""
    return stratified_folds(labels_N, unit_N=_units(labels_N, groups), num_folds=num_folds, seed=seed)


def stratified_folds(labels_N: Vector, *, unit_N: Places, num_folds: int, seed: int) -> list[Places]:
    """Folds with the same spread of labels: neighbours in label order go to different folds, drawn by chance.

    unit_N: numbers of what stays together and goes by its mean label. Raises AnnotationError where there are too few.
    """
    num_units, needed = len(np.unique(unit_N)), MIN_ITEMS_PER_FOLD * num_folds
    if num_folds < 2 or num_units < needed:
        told = f"{with_groups(f'{len(labels_N)} labelled items', num_units if num_units < len(labels_N) else None)}"
        kinds = "items" if num_units == len(labels_N) else "groups"
        raise AnnotationError(
            f"{told} are too few for {num_folds} folds: at least 2 folds and {needed} {kinds} are needed."
        )
    _, unit_N = np.unique(unit_N, return_inverse=True)
    label_U = np.bincount(unit_N, labels_N) / np.bincount(unit_N)
    generator = np.random.default_rng(seed)
    order_U = np.lexsort((generator.random(num_units), label_U))
    fold_U = np.empty(num_units, dtype=np.intp)
    for start in range(0, num_units, num_folds):
        block = order_U[start : start + num_folds]
        fold_U[block] = generator.permutation(num_folds)[: len(block)]
    return [np.flatnonzero(fold_U[unit_N] == number) for number in range(num_folds)]


def _units(labels_N: Vector, groups: Groups | None) -> Places:
    return np.arange(len(labels_N)) if count_groups(groups) is None or groups is None else numbered(groups)


def _chosen(
    method: Fitted, standard_NM: Matrix, labels_N: Vector, rows_K: Places, *, unit_N: Places, seed: int
) -> Vector:
    """Weights [M] fitted on some rows, with the strength whose held-out scores are best among them.

    Of strengths that are equally good, the strongest.
    """
    path = PATHS[method]
    candidates_PM: Matrix = path(standard_NM[rows_K], labels_N[rows_K])
    held_out_PN = np.zeros((len(candidates_PM), len(labels_N)))
    folds = stratified_folds(labels_N[rows_K], unit_N=unit_N[rows_K], num_folds=NUM_INNER_FOLDS, seed=seed)
    for places in folds:
        fold, rest = rows_K[places], np.delete(rows_K, places)
        for place, weights_M in enumerate(path(standard_NM[rest], labels_N[rest])):
            held_out_PN[place, fold] = _mixed(standard_NM, weights_M)[fold]
    goodness = [np.nan_to_num(challenge(one[rows_K], labels_N[rows_K]).value, nan=-2) for one in held_out_PN]
    return np.asarray(candidates_PM[max(range(len(goodness)), key=lambda place: (goodness[place], place))])


def _mixed(standard_NM: Matrix, weights_M: Vector) -> Vector:
    """The mixture with spread 1 over all items."""
    mixed_N = standard_NM @ weights_M
    return np.zeros_like(mixed_N) if is_constant(mixed_N) else np.asarray(mixed_N / mixed_N.std())


def location(scores_NM: Matrix) -> tuple[Vector, Vector]:
    """Mean and standard deviation of each member; 1 for constant ones."""
    return scores_NM.mean(axis=0), np.where(constant(scores_NM), 1.0, scores_NM.std(axis=0))


def constant(scores_NM: Matrix) -> NDArray[np.bool_]:
    """Which members [M] give every item the same score."""
    return np.array([is_constant(scores_N) for scores_N in scores_NM.T])


def standardised(scores_NM: Matrix) -> Matrix:
    """Every member with mean 0 and spread 1; zeros for constant ones."""
    centres_M, spreads_M = location(scores_NM)
    return np.where(constant(scores_NM), 0.0, (scores_NM - centres_M) / spreads_M)
