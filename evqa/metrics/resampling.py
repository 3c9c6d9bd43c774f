"""Bootstrap of all metrics at once, vectorised over the resamples; items that belong to a group are drawn together.

A resample of N items is a row of counts: how often each item was drawn, or its group, so that the row's sum varies.
Ranks with ties then follow from cumulative sums over the sorted items (nothing is sorted again), correlations from
weighted sums, and Kendall's tau from one Fenwick tree whose cells are vectors over the resamples. Every draw equals the
metric of the resampled vectors, ties between copies included; a test compares them with SciPy.

The same (N, seed) gives the same resamples, so draws of two predictions of the same items are paired.

# R resamples, N items (sorted by label inside), U units that are drawn (items, or groups of them), G groups of equal
# values
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evqa.metrics.correlation import CHALLENGE_WEIGHTS, METRICS, Vector, as_vectors, obstacle
from evqa.metrics.groups import Groups, numbered

NUM_RESAMPLES = 2000
LEVEL = 0.95
MAX_UNDEFINED = 0.05  # share of resamples without a value (constants) above which there is no interval
CELLS_PER_CHUNK = 5_000_000  # 40 MB a matrix; wide chunks keep the tree of `_concordance` fast

Matrix = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The two ends, or NaN and the reason why there is none."""

    low: float
    high: float
    reason: str | None = None


def interval(draws_R: Vector, *, level: float = LEVEL) -> Interval:
    """The percentile interval, the middle `level`; resamples without a value are left out if they are few."""
    defined = draws_R[np.isfinite(draws_R)]
    num_undefined = len(draws_R) - len(defined)
    if len(draws_R) == 0:
        return Interval(low=math.nan, high=math.nan, reason="no resamples were drawn")
    if num_undefined > MAX_UNDEFINED * len(draws_R):
        reason = f"the metric does not exist in {num_undefined} of {len(draws_R)} resamples"
        return Interval(low=math.nan, high=math.nan, reason=reason)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high))


def counts(
    num_units: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0, num_items: int | None = None
) -> Iterator[Matrix]:
    """Resamples of units as counts [R, U], in chunks that fit in memory also as counts of their items.

    num_items: how many items the units have, where that is not one each. Each row sums to the number of units.
    """
    generator = np.random.default_rng(seed)
    size = max(1, CELLS_PER_CHUNK // max(num_items or num_units, 1))
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        drawn_RU = generator.integers(0, num_units, (rows, num_units)) + np.arange(rows)[:, None] * num_units
        yield np.bincount(drawn_RU.ravel(), minlength=rows * num_units).reshape(rows, num_units).astype(np.float64)


def bootstrap(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    groups: Groups | None = None,
) -> dict[str, Vector]:
    """Draws [R] of each metric over resampled items; NaN where a resample has no such value.

    groups: the group of each item; whole groups are drawn (Davison and Hinkley 1997, section 3.8). Draws of other
    scores for the same labels and groups in the same order are paired when `seed` and `num_resamples` agree.
    """
    scores_N, labels_N = as_vectors(scores, labels)
    if obstacle(scores_N, labels_N, correlation=False):
        return {name: np.full(num_resamples, math.nan) for name in metrics}
    items = _Items.of(scores_N, labels_N)
    chunks = item_counts(labels_N, groups, num_resamples=num_resamples, seed=seed)
    drawn = [_metrics_of(counts_RN, items, metrics) for counts_RN in chunks]
    return {name: np.concatenate([part[name] for part in drawn] or [np.empty(0)]) for name in metrics}


def draws_of(counts_RN: Matrix, scores_N: Vector, labels_N: Vector, *, metric: str) -> Vector:
    """A metric of resamples given as counts, of items in the order of their labels; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may be empty where some items are left out
        return _metrics_of(counts_RN, _Items.of(scores_N, labels_N), (metric,))[metric]


def item_counts(labels_N: Vector, groups: Groups | None, *, num_resamples: int, seed: int) -> Iterator[Matrix]:
    """Resamples of items or groups as counts [R, N] of the items, which go in the order of their labels."""
    names = groups if groups is not None else [None] * len(labels_N)
    unit_N = numbered([names[place] for place in np.argsort(labels_N, kind="stable")])
    num_units = int(unit_N.max()) + 1
    for counts_RU in counts(num_units, num_resamples=num_resamples, seed=seed, num_items=len(unit_N)):
        yield counts_RU if num_units == len(unit_N) else np.take(counts_RU, unit_N, axis=1)


@dataclass(frozen=True)
class _Ties:
    """Where each item stands among the sorted distinct values."""

    order_N: Indices | None  # items by value; None where they already are
    starts_G: Indices  # first place of each group of equal values in that order
    group_N: Indices

    @classmethod
    def of(cls, values_N: Vector) -> _Ties:
        order_N = np.argsort(values_N, kind="stable")
        _, starts_G, sorted_group_N = np.unique(values_N[order_N], return_index=True, return_inverse=True)
        group_N = np.empty_like(order_N)
        group_N[order_N] = sorted_group_N
        is_sorted = bool(np.all(order_N[:-1] < order_N[1:]))
        return cls(None if is_sorted else order_N, starts_G.astype(np.intp), group_N)

    def sizes(self, counts_RN: Matrix) -> Matrix:
        """How many drawn items have each value [R, G]."""
        sorted_RN = counts_RN if self.order_N is None else np.take(counts_RN, self.order_N, axis=1)
        has_ties = len(self.starts_G) < sorted_RN.shape[1]
        return np.add.reduceat(sorted_RN, self.starts_G, axis=1) if has_ties else sorted_RN


@dataclass(frozen=True)
class _Items:
    """Scores and labels in the order of the labels, so that only the scores need sorting in each resample."""

    scores_N: Vector
    labels_N: Vector
    score_ties: _Ties
    label_ties: _Ties

    @classmethod
    def of(cls, scores_N: Vector, labels_N: Vector) -> _Items:
        by_label_N = np.argsort(labels_N, kind="stable")
        scores_N, labels_N = scores_N[by_label_N], labels_N[by_label_N]
        return cls(scores_N, labels_N, _Ties.of(scores_N), _Ties.of(labels_N))


def _metrics_of(counts_RN: Matrix, items: _Items, names: Sequence[str]) -> dict[str, Vector]:
    values: dict[str, Vector] = {}
    if {"srocc", "challenge"} & set(names):
        values["srocc"] = _srocc(counts_RN, items)
    if {"plcc", "challenge"} & set(names):
        values["plcc"] = _plcc(counts_RN, items)
    if "krocc" in names:
        values["krocc"] = _krocc(counts_RN, items)
    if "rmse" in names:
        values["rmse"] = np.sqrt(counts_RN @ (items.scores_N - items.labels_N) ** 2 / counts_RN.sum(axis=1))
    if "challenge" in names:
        values["challenge"] = CHALLENGE_WEIGHTS[0] * values["srocc"] + CHALLENGE_WEIGHTS[1] * values["plcc"]
    return {name: values[name] for name in names}


def _ratio(covariance_R: Vector, variance_a_R: Vector, variance_b_R: Vector) -> Vector:
    """Correlation; NaN where a variance is zero up to rounding (relative to the largest resample's)."""
    tiny_a, tiny_b = 1e-15 * variance_a_R.max(), 1e-15 * variance_b_R.max()
    exists_R = (variance_a_R > tiny_a) & (variance_b_R > tiny_b)
    spread_a_R, spread_b_R = (np.sqrt(np.where(exists_R, v_R, math.nan)) for v_R in (variance_a_R, variance_b_R))
    return np.asarray(np.clip(covariance_R / (spread_a_R * spread_b_R), -1.0, 1.0))


def _centred_ranks(counts_RN: Matrix, ties: _Ties) -> tuple[Matrix, Vector]:
    """Mid-ranks less their mean for each item [R, N], and their sum of squares [R]."""
    sizes_RG = ties.sizes(counts_RN)
    ranks_RG = np.cumsum(sizes_RG, axis=1)
    ranks_RG -= sizes_RG / 2
    ranks_RG -= counts_RN.sum(axis=1, keepdims=True) / 2
    squares_R = np.einsum("rg,rg,rg->r", sizes_RG, ranks_RG, ranks_RG)
    return (ranks_RG if sizes_RG is counts_RN else np.take(ranks_RG, ties.group_N, axis=1)), squares_R


def _srocc(counts_RN: Matrix, items: _Items) -> Vector:
    ranks_s_RN, variance_s_R = _centred_ranks(counts_RN, items.score_ties)
    ranks_y_RN, variance_y_R = _centred_ranks(counts_RN, items.label_ties)
    return _ratio(np.einsum("rn,rn,rn->r", counts_RN, ranks_s_RN, ranks_y_RN), variance_s_R, variance_y_R)


def _plcc(counts_RN: Matrix, items: _Items) -> Vector:
    s_N, y_N = (_unit_spread(values_N) for values_N in (items.scores_N, items.labels_N))
    sums_R5 = counts_RN @ np.stack([s_N, y_N, s_N * y_N, s_N * s_N, y_N * y_N], axis=1)
    sums_R5 /= counts_RN.sum(axis=1, keepdims=True)
    s_R, y_R, sy_R, ss_R, yy_R = sums_R5.T
    return _ratio(sy_R - s_R * y_R, ss_R - s_R * s_R, yy_R - y_R * y_R)


def _unit_spread(values_N: Vector) -> Vector:
    centred_N = values_N - values_N.mean()
    return np.asarray(centred_N / (np.abs(centred_N).max() or 1.0))


def _krocc(counts_RN: Matrix, items: _Items) -> Vector:
    """tau-b = (concordant - discordant) / sqrt(pairs untied in scores x pairs untied in labels)."""
    n_R = counts_RN.sum(axis=1)
    num_pairs_R = n_R * (n_R - 1) / 2
    untied_s_R, untied_y_R = (
        num_pairs_R - (sizes * (sizes - 1) / 2).sum(axis=1)
        for sizes in (items.score_ties.sizes(counts_RN), items.label_ties.sizes(counts_RN))
    )
    return _ratio(_concordance(counts_RN, items), untied_s_R, untied_y_R)


def _concordance(counts_RN: Matrix, items: _Items) -> Vector:
    """Concordant minus discordant pairs [R].

    Items enter in the order of their labels. Before a group of equal labels enters, each of its items asks how many
    of the entered ones have a lower and how many a higher score.
    """
    counts_NR = np.ascontiguousarray(counts_RN.T)
    group_N = items.score_ties.group_N.tolist()
    lower_GR = np.zeros((len(items.score_ties.starts_G) + 1, counts_NR.shape[1]))  # a Fenwick tree, cells from 1
    equal_GR = np.zeros_like(lower_GR[1:])
    difference_R, entered_R = np.zeros(counts_NR.shape[1]), np.zeros(counts_NR.shape[1])
    starts = [*items.label_ties.starts_G.tolist(), len(group_N)]
    for first, end in pairwise(starts):
        for item in range(first, end):
            lower_R = lower_GR[_cells_of_prefix(group_N[item])].sum(axis=0)
            difference_R += counts_NR[item] * (2 * lower_R + equal_GR[group_N[item]] - entered_R)
        for item in range(first, end):
            lower_GR[_cells_of_place(group_N[item] + 1, len(lower_GR))] += counts_NR[item]
            equal_GR[group_N[item]] += counts_NR[item]
            entered_R += counts_NR[item]
    return difference_R


def _cells_of_prefix(end: int) -> list[int]:
    """Cells of a Fenwick tree whose sum is that of places 1..end."""
    cells = []
    while end > 0:
        cells.append(end)
        end &= end - 1
    return cells


def _cells_of_place(place: int, size: int) -> list[int]:
    """Cells of a Fenwick tree that contain a place."""
    cells = []
    while place < size:
        cells.append(place)
        place += place & -place
    return cells
