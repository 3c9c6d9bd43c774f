"""Kendall's tau-b by its influence values: how much each item adds to it, and so its value in resamples of the items.

tau = C / sqrt(U_s U_y), where C counts concordant less discordant pairs, U_s and U_y those untied in scores and in
labels. Each is a sum over pairs, so that its derivative by an item's weight is the sum over the pairs of that item.

# N items
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from itertools import pairwise

import numpy as np

from evqa.metrics.correlation import Vector, midranks


def kendall_influence(scores_N: Vector, labels_N: Vector) -> tuple[float, Vector]:
    """Kendall's tau-b of two vectors that are not constant, and its derivative [N] by the weight of each item.

    Weights are 1 at first; how often a resample draws an item is its weight there (Efron 1982, chapter 6: the
    infinitesimal jackknife).
    """
    ordered_N, untied_s_N, untied_y_N = concordance(scores_N, labels_N), _untied(scores_N), _untied(labels_N)
    untied_s, untied_y = untied_s_N.sum() / 2, untied_y_N.sum() / 2
    scale = math.sqrt(untied_s * untied_y)
    tau = float(ordered_N.sum() / 2 / scale)
    return tau, ordered_N / scale - tau / 2 * (untied_s_N / untied_s + untied_y_N / untied_y)


def concordance(scores_N: Vector, labels_N: Vector) -> Vector:
    """Each item's concordant less discordant pairs [N], in O(N log N).

    Items enter by their labels, equal ones together. Before and after an item's label enters, it asks how many scores
    are below its own and how many at most equal; these four counts and the item's ranks tell all that is above, too.
    """
    order, scores = np.argsort(labels_N, kind="stable").tolist(), scores_N.tolist()
    starts = np.flatnonzero(np.diff(np.sort(labels_N), prepend=math.nan)).tolist()
    entered, asked = list[float](), [0] * len(scores)
    for start, end in pairwise([*starts, len(scores)]):
        for item in order[start:end]:
            asked[item] += _places(entered, scores[item])
        for item in order[start:end]:
            insort(entered, scores[item])
        for item in order[start:end]:
            asked[item] += _places(entered, scores[item])
    return np.array(asked) + len(scores) + 2 - 2 * (midranks(scores_N) + midranks(labels_N))


def _places(values: list[float], value: float) -> int:
    return bisect_left(values, value) + bisect_right(values, value)


def _untied(values_N: Vector) -> Vector:
    """With how many items each one is not tied."""
    _, place_N, sizes = np.unique(values_N, return_inverse=True, return_counts=True)
    return np.asarray(len(values_N) - sizes[place_N], dtype=np.float64)
