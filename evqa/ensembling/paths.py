"""Weights of standardised members for each strength of shrinkage [P, M], from the weakest to the strongest.

A member that is constant on these items gets weight 0.

# K items, M members, P strengths
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from evqa.ensembling.members import Matrix, Vector
from evqa.metrics.correlation import CHALLENGE_WEIGHTS, ROUNDING, is_constant, midranks

SHRINKAGES = (0.0, 0.25, 0.5, 0.75, 1.0)  # towards equal weights
RIDGES = tuple(float(x) for x in np.geomspace(1e-4, 1e1, 6))  # penalty over N
NUM_PICKS = (50, 20, 10, 5, 2, 1)
STEPS = (0.1, 0.05, 0.02)

Goodness = Callable[[Vector], float]


def convex_path(standard_KM: Matrix, labels_K: Vector) -> Matrix:
    """Convex weights: the best ones, more and more shrunk towards equal ones."""
    alive_M = _alive(standard_KM)
    best_M, equal_M = best_convex(standard_KM, labels_K), alive_M / max(int(alive_M.sum()), 1)
    return np.stack([(1 - shrinkage) * best_M + shrinkage * equal_M for shrinkage in SHRINKAGES])


def greedy_path(standard_KM: Matrix, labels_K: Vector) -> Matrix:
    """Forward selection with replacement (Caruana et al. 2004, section 2): shares of members among many to few picks.

    Each pick is the member that makes the mean of all picks best, the first one of equals.
    """
    goodness, alive_M = challenge_of(standard_KM, labels_K), np.flatnonzero(_alive(standard_KM))
    counts_M, shares = np.zeros(standard_KM.shape[1]), dict[int, Vector]()
    for number in range(1, max(NUM_PICKS) + 1):
        if len(alive_M):
            counts_M[max(alive_M, key=lambda member: goodness(counts_M + np.eye(len(counts_M))[member]))] += 1
        shares[number] = counts_M / number
    return np.stack([shares[number] for number in NUM_PICKS])


def ridge_path(standard_KM: Matrix, labels_K: Vector) -> Matrix:
    """Ridge regression of the labels, one for each penalty; weights may be negative."""
    centred_KM = np.where(_alive(standard_KM), standard_KM - standard_KM.mean(axis=0), 0.0)
    left, values, right = np.linalg.svd(centred_KM, full_matrices=False)
    moments = values * (left.T @ (labels_K - labels_K.mean()))
    return np.stack([right.T @ (moments / (values**2 + ridge * len(labels_K))) for ridge in RIDGES])


def best_convex(standard_KM: Matrix, labels_K: Vector) -> Vector:
    """Convex weights [M] that maximise the challenge score of these items.

    From the best of equal weights, single members and the weights of the largest PLCC (non-negative least squares),
    weights are raised and lowered one at a time in smaller and smaller steps: SROCC is a staircase without a gradient.
    """
    goodness, alive_M = challenge_of(standard_KM, labels_K), _alive(standard_KM)
    if not alive_M.any():
        return np.zeros(len(alive_M))
    starts = [alive_M / alive_M.sum(), *np.eye(len(alive_M))[alive_M]]
    linear_M, _ = optimize.nnls(np.where(alive_M, standard_KM, 0.0), labels_K)
    if linear_M.sum() > 0:
        starts.append(linear_M / linear_M.sum())
    best_M: Vector = max(starts, key=goodness)
    for step in STEPS:
        best_M = _climb(goodness, best_M, step, np.flatnonzero(alive_M))
    return best_M


def challenge_of(standard_KM: Matrix, labels_K: Vector) -> Goodness:
    """The challenge score of these items as a function of weights [M]; 0 for a constant mixture."""
    ranks_K, labels_K = _unit(midranks(labels_K)), _unit(labels_K)

    def goodness(weights_M: Vector) -> float:
        mixed_K = standard_KM @ weights_M
        rank, linear = _unit(midranks(mixed_K)) @ ranks_K, _unit(mixed_K) @ labels_K
        return float(CHALLENGE_WEIGHTS[0] * rank + CHALLENGE_WEIGHTS[1] * linear)

    return goodness


def _alive(standard_KM: Matrix) -> NDArray[np.bool_]:
    return np.array([not is_constant(scores_K) for scores_K in standard_KM.T])


def _unit(values_K: Vector) -> Vector:
    """Centred and of length 1, so that a product is a correlation; zeros for a constant."""
    centred_K = values_K - values_K.mean()
    length = math.sqrt(centred_K @ centred_K)
    return centred_K / length if length > ROUNDING * np.abs(values_K).max() else np.zeros_like(centred_K)


def _climb(goodness: Goodness, weights_M: Vector, step: float, members: NDArray[np.intp]) -> Vector:
    """Move single weights by `step` (the rest keeps its proportions) while that helps."""
    height, improved = goodness(weights_M), True
    while improved:
        improved = False
        for member in members:
            for change in (step, -step):
                moved_M = weights_M.copy()
                moved_M[member] = max(0.0, moved_M[member] + change)
                if moved_M.sum() <= 0:
                    continue
                moved_M /= moved_M.sum()
                if (moved_height := goodness(moved_M)) > height + 1e-9:
                    weights_M, height, improved = moved_M, moved_height, True
    return weights_M
