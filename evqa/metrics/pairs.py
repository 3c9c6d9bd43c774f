"""Pairs of items by how far their labels are apart: near ones are hard to order, far ones must not be swapped.

# R resamples, N items, S predictions, B bins of distance, I and J items of a block of pairs
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evqa.metrics.correlation import Measure, Vector, as_vectors, obstacle
from evqa.metrics.draws import Matrix
from evqa.metrics.groups import Groups
from evqa.metrics.resampling import item_counts

BLOCK = 512  # items; a block of pairs takes 17 MB at 8,459 items
WIDE = 5_000_000  # counts: what is computed of pairs serves many resamples


def pairwise_by_gap(scores: ArrayLike, labels: ArrayLike, *, edges: Sequence[float]) -> list[Measure]:
    """`pairwise_accuracy` of the pairs whose labels are edges[b] <= distance < edges[b + 1] apart, for each such bin.

    Pairs of equal labels are in no bin.
    """
    scores_N, labels_N = as_vectors(scores, labels)
    reason = obstacle(scores_N, labels_N)
    if reason:
        return [Measure(value=math.nan, reason=reason)] * (len(edges) - 1)
    ((values_B,),) = share_in_order(np.ones((1, len(labels_N))), scores_N[None], labels_N, edges=edges)
    return [
        Measure(value=float(value), reason="no two labels are so far apart" if math.isnan(value) else None)
        for value in values_B
    ]


def gap_draws(
    scores_SN: Matrix,
    labels_N: Vector,
    *,
    edges: Sequence[float],
    num_resamples: int,
    groups: Groups | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Draws [S, R, B] of `pairwise_by_gap`, for each of several predictions of the same items."""
    order_N = np.argsort(labels_N, kind="stable")
    chunks = item_counts(labels_N, groups, num_resamples=num_resamples, seed=seed, num_cells=WIDE)
    parts = [share_in_order(one_RN, scores_SN[:, order_N], labels_N[order_N], edges=edges) for one_RN in chunks]
    return np.concatenate(parts, axis=1)


def share_in_order(
    counts_RN: Matrix, scores_SN: Matrix, labels_N: Vector, *, edges: Sequence[float]
) -> NDArray[np.float64]:
    """The shares [S, R, B] in resamples given as counts; NaN where a resample has no such pair."""
    order_N = np.argsort(labels_N, kind="stable")
    drawn_RN = counts_RN[:, order_N].astype(np.float32)  # exact: counts, halves and their sums are small
    scores_SN, labels_N = scores_SN[:, order_N], labels_N[order_N]
    rounding = 1e-12 * np.abs(labels_N).max()  # blocks reach a little too far, `inside_IJ` decides
    right_SRB = np.zeros((len(scores_SN), len(counts_RN), len(edges) - 1))
    pairs_RB: Matrix = np.zeros(right_SRB.shape[1:])
    for start in range(0, len(labels_N), BLOCK):
        upper = slice(start, min(start + BLOCK, len(labels_N)))
        for place, (least, most) in enumerate(pairwise(edges)):
            ends = (labels_N[start] - most - rounding, labels_N[upper.stop - 1] - least + rounding)
            lower = slice(*np.searchsorted(labels_N, ends).tolist())
            gaps_IJ = labels_N[upper, None] - labels_N[None, lower]
            inside_IJ = (gaps_IJ >= least) & (gaps_IJ < most) & (gaps_IJ > 0)
            pairs_RB[:, place] += _drawn(drawn_RN, upper, lower, inside_IJ)
            for right_RB, scores_N in zip(right_SRB, scores_SN, strict=True):
                ahead_IJ = (1 + np.sign(scores_N[upper, None] - scores_N[None, lower])) / 2
                right_RB[:, place] += _drawn(drawn_RN, upper, lower, inside_IJ * ahead_IJ)
    return right_SRB / np.where(pairs_RB > 0, pairs_RB, math.nan)


def _drawn(counts_RN: NDArray[np.float32], upper: slice, lower: slice, weight_IJ: NDArray[np.generic]) -> Vector:
    """Sum [R] of the drawn pairs' weights."""
    of_upper_RI = counts_RN[:, lower] @ weight_IJ.astype(np.float32).T
    return np.asarray(np.einsum("ri,ri->r", of_upper_RI, counts_RN[:, upper], dtype=np.float64))
