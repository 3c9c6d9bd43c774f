"""Weights of standardised members for each strength of shrinkage [P, M], from the weakest to the strongest.

A member that is constant on these items gets weight 0.

# K items, M members, P strengths, C combinations
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
CELLS_AT_ONCE = 4000  # scores of combinations that are compared at once: fast for few items, little in vain for many

Goodness = Callable[[Matrix], Vector]


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
    one_MM = np.eye(standard_KM.shape[1])
    counts_M, shares = np.zeros(len(one_MM)), dict[int, Vector]()
    for number in range(1, max(NUM_PICKS) + 1):
        if len(alive_M):
            counts_M = counts_M + one_MM[alive_M[np.argmax(goodness(counts_M + one_MM[alive_M]))]]
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
    best_M: Vector = starts[int(np.argmax(goodness(np.array(starts))))]
    num_at_once = max(1, CELLS_AT_ONCE // len(labels_K))
    for step in STEPS:
        best_M = _climb(goodness, best_M, step, members=np.flatnonzero(alive_M), num_at_once=num_at_once)
    return best_M


def challenge_of(standard_KM: Matrix, labels_K: Vector) -> Goodness:
    """The challenge score of these items as a function of several weights [C, M]; 0 for a constant mixture.

    standard_KM: members of spread 1 in all items, so that what rounding leaves of a constant is known by its size.
    """
    centred_KM, places_K = standard_KM - standard_KM.mean(axis=0), np.arange(1.0, len(labels_K) + 1)
    ranks_K, labels_K, length = _unit(midranks(labels_K)), _unit(labels_K), np.linalg.norm(places_K - places_K.mean())

    def goodness(weights_CM: Matrix) -> Vector:
        mixed_CK = weights_CM @ centred_KM.T
        rank_C = ranks_K[mixed_CK.argsort(axis=1)] @ places_K / length
        sorted_CK = np.sort(mixed_CK, axis=1)
        ties_CK = sorted_CK[:, 1:] == sorted_CK[:, :-1]
        if ties_CK.any():
            for row in np.flatnonzero(ties_CK.any(axis=1)):
                rank_C[row] = _unit(midranks(mixed_CK[row])) @ ranks_K
        length_C = np.sqrt(np.einsum("ck,ck->c", mixed_CK, mixed_CK))
        is_flat_C = length_C <= ROUNDING * len(labels_K)
        if is_flat_C.any():
            rank_C[is_flat_C], length_C[is_flat_C] = 0.0, math.inf
        return np.asarray(CHALLENGE_WEIGHTS[0] * rank_C + CHALLENGE_WEIGHTS[1] * (mixed_CK @ labels_K / length_C))

    return goodness


def _alive(standard_KM: Matrix) -> NDArray[np.bool_]:
    return np.array([not is_constant(scores_K) for scores_K in standard_KM.T])


def _unit(values_K: Vector) -> Vector:
    """Centred and of length 1, so that a product is a correlation; zeros for a constant."""
    centred_K = values_K - values_K.mean()
    length = float(np.linalg.norm(centred_K))
    return centred_K / length if length > ROUNDING * np.abs(values_K).max() else np.zeros_like(centred_K)


def _climb(
    goodness: Goodness, weights_M: Vector, step: float, *, members: NDArray[np.intp], num_at_once: int
) -> Vector:
    """Move single weights by `step` (the rest keeps its proportions) while that helps, each in its turn."""
    one_MM = step * np.eye(len(weights_M))
    moves_CM = np.stack([sign * one_MM[member] for member in members for sign in (1, -1)])
    height, num_in_vain = goodness(weights_M[None])[0], 0
    while num_in_vain < len(moves_CM):
        moved_CM = np.maximum(weights_M + moves_CM[:num_at_once], 0.0)
        moved_CM /= moved_CM.sum(axis=1, keepdims=True)
        height_C = goodness(moved_CM)
        better = np.flatnonzero(height_C > height + 1e-9)
        if len(better):
            weights_M, height = moved_CM[better[0]], height_C[better[0]]
        num_tried = better[0] + 1 if len(better) else len(moved_CM)
        num_in_vain = 0 if len(better) else num_in_vain + num_tried
        moves_CM = np.roll(moves_CM, -num_tried, axis=0)
    return weights_M
