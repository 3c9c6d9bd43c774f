"""Bootstrap of all metrics at once, vectorised over the resamples; items that belong to a group are drawn together.

A resample of N items is a row of counts: how often each item was drawn, or its group, so that the row's sum varies. The
same (N, seed) gives the same resamples, so draws of two predictions of the same items are paired; those of many
predictions are drawn once for all.

# R resamples, N items (sorted by label inside), U units that are drawn (items, or groups of them), S predictions
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evqa.metrics.correlation import METRICS, Vector, as_vectors, obstacle
from evqa.metrics.draws import DrawnItems, Matrix, Prediction, Ties, metrics_of
from evqa.metrics.groups import Groups, numbered

NUM_RESAMPLES = 2000
LEVEL = 0.95
MAX_UNDEFINED = 0.05  # share of resamples without a value (constants) above which there is no interval
CELLS_PER_CHUNK = 100_000  # 0.8 MB a matrix: it stays in the processor's cache for all predictions


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
    num_units: int,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    num_items: int | None = None,
    num_cells: int | None = None,
) -> Iterator[Matrix]:
    """Resamples of units as counts [R, U], in chunks of `num_cells` counts of their items.

    num_items: how many items the units have, where that is not one each. Each row sums to the number of units.
    """
    generator = np.random.default_rng(seed)
    size = max(1, (num_cells or CELLS_PER_CHUNK) // max(num_items or num_units, 1))
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
    (draws,) = bootstrap_each([scores], labels, metrics=metrics, num_resamples=num_resamples, seed=seed, groups=groups)
    return draws


def bootstrap_each(
    scores_SN: Sequence[ArrayLike],
    labels: ArrayLike,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    groups: Groups | None = None,
    told: Callable[[int], object] = int,
) -> list[dict[str, Vector]]:
    """`bootstrap` of several predictions of the same items, which share the resamples and what the labels decide.

    told: is handed how many resamples are done, again and again.
    """
    vectors = [as_vectors(scores, labels) for scores in scores_SN]
    draws = [{name: np.full(num_resamples, math.nan) for name in metrics} for _ in vectors]
    known = [place for place, pair in enumerate(vectors) if not obstacle(*pair, correlation=False)]
    if not known:
        return draws
    labels_N = vectors[0][1]
    order_N, done = np.argsort(labels_N, kind="stable"), 0
    predictions = {place: Prediction(vectors[place][0][order_N], labels_N[order_N]) for place in known}
    for sample in samples(labels_N, groups, num_resamples=num_resamples, seed=seed):
        chunk = slice(done, done := done + len(sample.num_R))
        for place, prediction in predictions.items():
            for name, values_R in metrics_of(sample, prediction, metrics).items():
                draws[place][name][chunk] = values_R
        told(done)
    return draws


def samples(labels_N: Vector, groups: Groups | None, *, num_resamples: int, seed: int) -> Iterator[DrawnItems]:
    """Resamples of items or groups, in chunks; the items go in the order of their labels."""
    label_ties = Ties(np.sort(labels_N, kind="stable"))
    for counts_RN in item_counts(labels_N, groups, num_resamples=num_resamples, seed=seed):
        yield DrawnItems(counts_RN, label_ties)


def item_counts(
    labels_N: Vector, groups: Groups | None, *, num_resamples: int, seed: int, num_cells: int | None = None
) -> Iterator[Matrix]:
    """Resamples of items or groups as counts [R, N] of the items, which go in the order of their labels.

    num_cells: counts in a chunk.
    """
    names = groups if groups is not None else [None] * len(labels_N)
    unit_N = numbered([names[place] for place in np.argsort(labels_N, kind="stable")])
    num_units, num_items = int(unit_N.max()) + 1, len(unit_N)
    drawn = counts(num_units, num_resamples=num_resamples, seed=seed, num_items=num_items, num_cells=num_cells)
    for counts_RU in drawn:
        yield counts_RU if num_units == num_items else np.take(counts_RU, unit_N, axis=1)
