"""Weights from labels by nested cross-validation: convex ones that maximise the challenge score, and ridge stacking.

A method is a *path*: for given scores and labels, one combination for each strength of shrinkage. The inner
cross-validation picks the strength, the outer one gives every item a score from weights fitted without its label.

# N items, M members, K items of a fold's training part
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from evqa.ensembling.combination import Combination, Method
from evqa.ensembling.members import Matrix, Vector
from evqa.errors import AnnotationError
from evqa.metrics import challenge
from evqa.metrics.correlation import CHALLENGE_WEIGHTS, ROUNDING, is_constant, midranks

SHRINKAGES = (0.0, 0.25, 0.5, 0.75, 1.0)  # towards equal weights
RIDGES = tuple(float(x) for x in np.geomspace(1e-4, 1e1, 6))  # penalty over N
STEPS = (0.1, 0.05, 0.02)
MIN_ITEMS_PER_FOLD = 3
NUM_INNER_FOLDS = 3  # only to pick one of a few strengths

Path = Callable[[Matrix, Vector], list[Combination]]
Folds = list[NDArray[np.intp]]


def fit(method: Method, scores_NM: Matrix, labels_N: Vector, *, names: Sequence[str], seed: int = 0) -> Combination:
    """Weights of `weights` or `stack` from all items, the strength picked by cross-validation within them."""
    path = _path(method, names)
    candidates = path(scores_NM, labels_N)
    folds = stratified_folds(labels_N, num_folds=NUM_INNER_FOLDS, seed=seed)
    held_out = np.stack([np.empty_like(labels_N)] * len(candidates))
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(labels_N)), fold)
        for place, combination in enumerate(path(scores_NM[rest], labels_N[rest])):
            held_out[place, fold] = combination.apply(scores_NM[fold])
    goodness = [challenge(scores_N, labels_N).value for scores_N in held_out]
    return candidates[max(range(len(candidates)), key=lambda place: (np.nan_to_num(goodness[place], nan=-2), place))]


def out_of_fold(
    method: Method, scores_NM: Matrix, labels_N: Vector, *, names: Sequence[str], num_folds: int = 5, seed: int = 0
) -> Vector:
    """Scores [N], each from weights fitted (strength included) without its fold."""
    held_out_N = np.empty_like(labels_N)
    for number, fold in enumerate(stratified_folds(labels_N, num_folds=num_folds, seed=seed)):
        rest = np.setdiff1d(np.arange(len(labels_N)), fold)
        inner = fit(method, scores_NM[rest], labels_N[rest], names=names, seed=seed + number + 1)
        held_out_N[fold] = inner.apply(scores_NM[fold])
    return held_out_N


def stratified_folds(labels_N: Vector, *, num_folds: int, seed: int) -> Folds:
    """Folds with the same spread of labels: neighbours in label order go to different folds, drawn by chance.

    Raises AnnotationError where there are too few items.
    """
    n, needed = len(labels_N), MIN_ITEMS_PER_FOLD * num_folds
    if num_folds < 2 or n < needed:
        raise AnnotationError(
            f"{n} labelled items are too few for {num_folds} folds: at least 2 folds and {needed} items are needed."
        )
    generator = np.random.default_rng(seed)
    order = np.lexsort((generator.random(n), labels_N))
    fold_N = np.empty(n, dtype=np.intp)
    for start in range(0, n, num_folds):
        block = order[start : start + num_folds]
        fold_N[block] = generator.permutation(num_folds)[: len(block)]
    return [np.flatnonzero(fold_N == number) for number in range(num_folds)]


def _path(method: Method, names: Sequence[str]) -> Path:
    if method == "weights":
        return lambda scores, labels: convex_path(scores, labels, names=names)
    if method == "stack":
        return lambda scores, labels: ridge_path(scores, labels, names=names)
    raise ValueError(f"method '{method}' has no weights to fit")


def convex_path(scores_KM: Matrix, labels_K: Vector, *, names: Sequence[str]) -> list[Combination]:
    """Convex weights of standardised members: the best ones, more and more shrunk towards equal ones."""
    best_M = best_convex(_standardised(scores_KM), labels_K)
    return [
        _calibrated("weights", (1 - shrinkage) * best_M + shrinkage / len(names), scores_KM, labels_K, names=names)
        for shrinkage in SHRINKAGES
    ]


def best_convex(standard_KM: Matrix, labels_K: Vector) -> Vector:
    """Convex weights [M] that maximise the challenge score of these items.

    From the best of equal weights, single members and the weights of the largest PLCC (non-negative least squares),
    weights are raised and lowered one at a time in smaller and smaller steps: SROCC is a staircase without a gradient.
    """
    num_members = standard_KM.shape[1]
    ranks_K, labels_K = _unit(midranks(labels_K)), _unit(labels_K)

    def goodness(weights_M: Vector) -> float:
        mixed_K = standard_KM @ weights_M
        rank, linear = _unit(midranks(mixed_K)) @ ranks_K, _unit(mixed_K) @ labels_K
        return float(CHALLENGE_WEIGHTS[0] * rank + CHALLENGE_WEIGHTS[1] * linear)

    starts = [np.full(num_members, 1 / num_members), *np.eye(num_members)]
    linear_M, _ = optimize.nnls(standard_KM, labels_K)
    if linear_M.sum() > 0:
        starts.append(linear_M / linear_M.sum())
    best_M: Vector = max(starts, key=goodness)
    for step in STEPS:
        best_M = _climb(goodness, best_M, step)
    return best_M


def _unit(values_K: Vector) -> Vector:
    """Centred and of length 1, so that a product is a correlation; zeros for a constant."""
    centred_K = values_K - values_K.mean()
    length = math.sqrt(centred_K @ centred_K)
    return centred_K / length if length > ROUNDING * np.abs(values_K).max() else np.zeros_like(centred_K)


def _climb(goodness: Callable[[Vector], float], weights_M: Vector, step: float) -> Vector:
    """Move single weights by `step` (the rest keeps its proportions) while that helps."""
    height, improved = goodness(weights_M), True
    while improved:
        improved = False
        for member in range(len(weights_M)):
            for change in (step, -step):
                moved_M = weights_M.copy()
                moved_M[member] = max(0.0, moved_M[member] + change)
                if moved_M.sum() <= 0:
                    continue
                moved_M /= moved_M.sum()
                if (moved_height := goodness(moved_M)) > height + 1e-9:
                    weights_M, height, improved = moved_M, moved_height, True
    return weights_M


def ridge_path(scores_KM: Matrix, labels_K: Vector, *, names: Sequence[str]) -> list[Combination]:
    """Ridge regression of the labels on standardised members, one for each penalty; weights may be negative."""
    left, values, right = np.linalg.svd(_standardised(scores_KM), full_matrices=False)
    moments = values * (left.T @ (labels_K - labels_K.mean()))
    return [
        _calibrated(
            "stack", right.T @ (moments / (values**2 + ridge * len(labels_K))), scores_KM, labels_K, names=names
        )
        for ridge in RIDGES
    ]


def _location(scores_KM: Matrix) -> tuple[Vector, Vector]:
    """Mean and standard deviation of each member; 1 for constant ones."""
    constant_M = np.array([is_constant(scores_K) for scores_K in scores_KM.T])
    return scores_KM.mean(axis=0), np.where(constant_M, 1.0, scores_KM.std(axis=0))


def _standardised(scores_KM: Matrix) -> Matrix:
    centres_M, spreads_M = _location(scores_KM)
    return (scores_KM - centres_M) / spreads_M


def _calibrated(
    method: Method, weights_M: Vector, scores_KM: Matrix, labels_K: Vector, *, names: Sequence[str]
) -> Combination:
    """Weights scaled so that the sum is the regression line of the labels.

    Without it shrunken weights would give a fold scores of less spread than another fold's, and the pooled held-out
    scores would correlate worse than any fold's.
    """
    centres_M, spreads_M = _location(scores_KM)
    mixed_K = _standardised(scores_KM) @ weights_M
    slope = float(mixed_K @ labels_K / (mixed_K @ mixed_K)) if not is_constant(mixed_K) else 0.0
    return Combination(
        method=method,
        members=tuple(names),
        weights=tuple(map(float, weights_M * (slope if slope > 0 else 1.0))),
        centres=tuple(map(float, centres_M)),
        spreads=tuple(map(float, spreads_M)),
        offset=float(labels_K.mean()),
    )
