"""A metric in many resamples at once, each a row of counts: how often every item was drawn.

Ranks with ties follow from cumulative sums over the sorted items (nothing is sorted again), correlations from weighted
sums. Draws of SROCC, PLCC and RMSE are those of the resampled vectors, ties between copies included. Those of KROCC are
of first order, by its influence values on Fisher's z scale: copies of an item are no ties to them, which would widen
the intervals of few items (docs/statistics.md).

# R resamples, N items in the order of their labels, G groups of equal values
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evqa.metrics.concordance import kendall_influence
from evqa.metrics.correlation import CHALLENGE_WEIGHTS, Vector

Matrix = NDArray[np.float64]
Indices = NDArray[np.intp]
Weights = TypeVar("Weights", Matrix, Indices)
ROUNDING = 1e-15  # of a variance: what is below this part of it is zero
PERFECT = 1 - 1e-12  # correlations beyond have no finite z; of 1,000,000 items one pair in the wrong order is below


class Ties:
    """Where each item stands among the sorted distinct values.

    order_N: items by value; None where they already are. starts_G: the first place of each group of equal values in
    that order. group_N: the group of each item. found: whether any two are equal.
    """

    def __init__(self, values_N: Vector) -> None:
        order_N = np.argsort(values_N, kind="stable")
        _, starts_G, sorted_group_N = np.unique(values_N[order_N], return_index=True, return_inverse=True)
        self.order_N = None if np.all(order_N[:-1] < order_N[1:]) else order_N
        self.starts_G = starts_G.astype(np.intp)
        self.group_N = np.empty_like(order_N)
        self.group_N[order_N] = sorted_group_N
        self.found = len(starts_G) < len(order_N)

    def sums(self, weights_RN: Weights, *, room_RN: Weights | None = None) -> Weights:
        """The weights of all items of each value [R, G], from the lowest value up; room_RN: overwritten."""
        sorted_RN = weights_RN
        if self.order_N is not None:
            sorted_RN = np.take(weights_RN, self.order_N, axis=1, out=room_RN, mode="clip")
        return np.add.reduceat(sorted_RN, self.starts_G, axis=1) if self.found else sorted_RN


class DrawnItems:
    """Resamples of items; what the labels alone decide is computed once for all predictions of these items.

    counts_RN: how often each item was drawn; a row may be empty. num_R: how many items were drawn.
    """

    def __init__(self, counts_RN: Matrix, label_ties: Ties) -> None:
        self.counts_RN, self.label_ties = counts_RN, label_ties
        self.num_R = np.asarray(counts_RN.sum(axis=1))

    @cached_property
    def whole_RN(self) -> Indices:
        """The counts as whole numbers: cumulative sums of these take a seventh of the time."""
        return self.counts_RN.astype(np.intp)

    @cached_property
    def label_ranks_RN(self) -> Matrix:
        """The labels' doubled mid-ranks less their mean over the drawn items, times the counts: whole numbers."""
        sizes_RG = self.label_ties.sums(self.whole_RN)
        ranks_RG = 2 * np.cumsum(sizes_RG, axis=1) - sizes_RG - self.num_R[:, None]
        ranks_RN = np.take(ranks_RG, self.label_ties.group_N, axis=1) if self.label_ties.found else ranks_RG
        return np.asarray(ranks_RN * self.counts_RN)

    @cached_property
    def label_squares_R(self) -> Vector:
        """`squares` of the labels."""
        return self.squares(self.label_ties)

    @cached_property
    def _squares_without_ties_R(self) -> Vector:
        return np.asarray((self.num_R**3 - _sum_of_cubes(self.counts_RN)) / 3)

    @cached_property
    def _rooms(self) -> tuple[Indices, Indices, Matrix]:
        """Memory for `products`: to ask for it anew takes longer than the sums."""
        return np.empty_like(self.whole_RN), np.empty_like(self.whole_RN), np.empty_like(self.counts_RN)

    def squares(self, ties: Ties) -> Vector:
        """Sum of squares [R] of such ranks of other values; 0 where all drawn items have the same value."""
        if not ties.found:
            return self._squares_without_ties_R
        return np.asarray((self.num_R**3 - _sum_of_cubes(ties.sums(self.counts_RN))) / 3)

    def products(self, ties: Ties) -> Vector:
        """Sum of products [R] of such ranks of other values with those of the labels."""
        room_RN, upto_RN, float_room_RN = self._rooms
        sizes_RG = ties.sums(self.whole_RN, room_RN=room_RN)
        ranks_RG = np.cumsum(sizes_RG, axis=1, out=upto_RN[:, : sizes_RG.shape[1]])
        ranks_RG *= 2
        ranks_RG -= sizes_RG  # less their mean or not: the labels' ranks sum to zero
        return np.asarray(np.einsum("rg,rg->r", ties.sums(self.label_ranks_RN, room_RN=float_room_RN), ranks_RG))


class Prediction:
    """Scores of items and their labels, both in the order of the labels; each part is computed when it is asked for."""

    def __init__(self, scores_N: Vector, labels_N: Vector) -> None:
        self.scores_N, self.labels_N = scores_N, labels_N

    @cached_property
    def ties(self) -> Ties:
        """Of the scores."""
        return Ties(self.scores_N)

    @cached_property
    def moments_N5(self) -> Matrix:
        """What the sums for PLCC are of: both values, their product, their squares."""
        s_N, y_N = (_unit_spread(values_N) for values_N in (self.scores_N, self.labels_N))
        return np.stack([s_N, y_N, s_N * y_N, s_N * s_N, y_N * y_N], axis=1)

    @cached_property
    def tiny(self) -> tuple[float, float]:
        """The variances of scores and labels in `moments_N5` below which a resample's is zero up to rounding."""
        variance_s, variance_y = self.moments_N5[:, :2].var(axis=0)
        return ROUNDING * variance_s, ROUNDING * variance_y

    @cached_property
    def squared_errors_N(self) -> Vector:
        """What RMSE is of."""
        return np.asarray((self.scores_N - self.labels_N) ** 2)

    @cached_property
    def kendall(self) -> tuple[float, Vector]:
        """KROCC and its influence values [N], on Fisher's z scale."""
        tau, influence_N = kendall_influence(self.scores_N, self.labels_N)
        tau = min(max(tau, -PERFECT), PERFECT)
        return math.atanh(tau), influence_N / (1 - tau**2)


@np.errstate(divide="ignore", invalid="ignore")  # a resample may be empty where only some of the items are judged
def metrics_of(sample: DrawnItems, prediction: Prediction, names: Sequence[str]) -> dict[str, Vector]:
    """Draws [R] of each metric; NaN where a resample has no such value."""
    values: dict[str, Vector] = {}
    squares_R = sample.squares(prediction.ties) if {"srocc", "krocc", "challenge"} & set(names) else np.empty(0)
    if {"srocc", "challenge"} & set(names):
        values["srocc"] = _ratio(sample.products(prediction.ties), squares_R, sample.label_squares_R)
    if {"plcc", "challenge"} & set(names):
        values["plcc"] = _plcc(sample, prediction)
    if "krocc" in names:
        exists_R = (squares_R > 0) & (sample.label_squares_R > 0)
        values["krocc"] = _krocc(sample, prediction, exists_R)
    if "rmse" in names:
        values["rmse"] = np.sqrt(sample.counts_RN @ prediction.squared_errors_N / sample.num_R)
    if "challenge" in names:
        values["challenge"] = CHALLENGE_WEIGHTS[0] * values["srocc"] + CHALLENGE_WEIGHTS[1] * values["plcc"]
    return {name: values[name] for name in names}


def _plcc(sample: DrawnItems, prediction: Prediction) -> Vector:
    sums_R5 = sample.counts_RN @ prediction.moments_N5
    sums_R5 /= sample.num_R[:, None]
    s_R, y_R, sy_R, ss_R, yy_R = sums_R5.T
    return _ratio(sy_R - s_R * y_R, ss_R - s_R * s_R, yy_R - y_R * y_R, tiny=prediction.tiny)


def _krocc(sample: DrawnItems, prediction: Prediction, exists_R: NDArray[np.bool_]) -> Vector:
    if not exists_R.any():
        return np.full(len(exists_R), math.nan)
    z, influence_N = prediction.kendall
    return np.where(exists_R, np.tanh(z + sample.counts_RN @ influence_N), math.nan)


def _ratio(
    covariance_R: Vector, variance_a_R: Vector, variance_b_R: Vector, *, tiny: tuple[float, float] = (0.0, 0.0)
) -> Vector:
    """Correlation; NaN where a variance is not above `tiny`."""
    exists_R = (variance_a_R > tiny[0]) & (variance_b_R > tiny[1])
    spread_a_R, spread_b_R = (np.sqrt(np.where(exists_R, v_R, math.nan)) for v_R in (variance_a_R, variance_b_R))
    return np.asarray(np.clip(covariance_R / (spread_a_R * spread_b_R), -1.0, 1.0))


def _sum_of_cubes(sizes_RG: Matrix) -> Vector:
    return np.asarray(np.einsum("rg,rg,rg->r", sizes_RG, sizes_RG, sizes_RG))


def _unit_spread(values_N: Vector) -> Vector:
    centred_N = values_N - values_N.mean()
    return np.asarray(centred_N / (np.abs(centred_N).max() or 1.0))
