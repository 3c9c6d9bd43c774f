"""The field's five numbers as pure functions: SROCC, PLCC, KROCC, RMSE and the challenge score.

Each takes two vectors of the same length and answers with a `Measure`: the value, or NaN and the reason why there is
none. A constant prediction has no rank correlation, so it is NaN and never 0.

# N items
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]

MIN_ITEMS = 3  # two points always correlate perfectly
CHALLENGE_WEIGHTS = (0.6, 0.4)  # of SROCC and PLCC, ICCV VQualA 2025 EVQA
ROUNDING = 1e-13  # spread below this part of the size is float64 rounding; SciPy's pearsonr draws the same line


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number, or NaN with the reason why it does not exist."""

    value: float
    reason: str | None = None

    def __float__(self) -> float:
        return self.value


def as_vectors(scores: ArrayLike, labels: ArrayLike) -> tuple[Vector, Vector]:
    """Both as float64 [N]. Raises ValueError where they are not two vectors of one length."""
    scores_N, labels_N = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if scores_N.ndim != 1 or scores_N.shape != labels_N.shape:
        raise ValueError(
            f"Scores of shape {scores_N.shape}, labels of shape {labels_N.shape}: two vectors of one length expected."
        )
    return scores_N, labels_N


def is_constant(values_N: Vector) -> bool:
    """Whether nothing but rounding tells the values apart."""
    return bool(np.ptp(values_N) <= ROUNDING * np.max(np.abs(values_N)))


def obstacle(scores_N: Vector, labels_N: Vector, *, correlation: bool = True) -> str | None:
    """Why no metric (or, for `correlation`, no correlation) of these vectors exists; None where it does."""
    n = len(scores_N)
    for name, values_N in (("scores", scores_N), ("labels", labels_N)):
        num_bad = n - int(np.isfinite(values_N).sum())
        if num_bad:
            return f"{num_bad} of {n} {name} are not finite"
    if n < (MIN_ITEMS if correlation else 1):
        return f"needs at least {MIN_ITEMS} items, got {n}" if correlation else "there are no items"
    for name, values_N in (("scores", scores_N), ("labels", labels_N)):
        if correlation and is_constant(values_N):
            return f"all {n} {name} are equal ({values_N[0]:.6g})"
    return None


def _measure(
    scores: ArrayLike, labels: ArrayLike, function: Callable[[Vector, Vector], float], *, correlation: bool = True
) -> Measure:
    scores_N, labels_N = as_vectors(scores, labels)
    reason = obstacle(scores_N, labels_N, correlation=correlation)
    return Measure(value=math.nan if reason else float(function(scores_N, labels_N)), reason=reason)


def pearson(a_N: Vector, b_N: Vector) -> float:
    """Pearson's r of two vectors that are not constant; scaled first, so that neither overflow nor underflow enters."""
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    a_N, b_N = a_N / np.abs(a_N).max(), b_N / np.abs(b_N).max()
    return float(np.clip(a_N @ b_N / math.sqrt((a_N @ a_N) * (b_N @ b_N)), -1.0, 1.0))


def midranks(values_N: Vector) -> Vector:
    """Ranks from 1; ties get the mean of theirs. As SciPy's `rankdata`, without its cost for short vectors."""
    order = np.argsort(values_N, kind="stable")
    sorted_N, ranks_N = values_N[order], np.arange(1.0, len(values_N) + 1)
    if np.any(sorted_N[1:] == sorted_N[:-1]):
        _, starts, sizes = np.unique(sorted_N, return_index=True, return_counts=True)
        ranks_N = np.repeat(starts + (sizes + 1) / 2, sizes)
    placed_N = np.empty_like(ranks_N)
    placed_N[order] = ranks_N
    return placed_N


def srocc(scores: ArrayLike, labels: ArrayLike) -> Measure:
    """Spearman's rank correlation; ties get the mean of their ranks."""
    return _measure(scores, labels, lambda s_N, y_N: pearson(midranks(s_N), midranks(y_N)))


def plcc(scores: ArrayLike, labels: ArrayLike) -> Measure:
    """Pearson's correlation of the raw scores (no fitted curve, see `evqa.metrics.logistic`)."""
    return _measure(scores, labels, pearson)


def krocc(scores: ArrayLike, labels: ArrayLike) -> Measure:
    """Kendall's tau-b, in O(N log N)."""
    from scipy import stats

    return _measure(scores, labels, lambda s_N, y_N: float(stats.kendalltau(s_N, y_N).statistic))


def rmse(scores: ArrayLike, labels: ArrayLike) -> Measure:
    """Root mean squared error in the label's own scale; exists from one item on, also for constants."""
    return _measure(scores, labels, lambda s_N, y_N: math.sqrt(np.mean((s_N - y_N) ** 2)), correlation=False)


def challenge(scores: ArrayLike, labels: ArrayLike) -> Measure:
    """The challenge score 0.6 SROCC + 0.4 PLCC, PLCC on raw scores."""
    rank, linear = srocc(scores, labels), plcc(scores, labels)
    value = CHALLENGE_WEIGHTS[0] * rank.value + CHALLENGE_WEIGHTS[1] * linear.value
    return Measure(value=value, reason=rank.reason)


METRICS: dict[str, Callable[[ArrayLike, ArrayLike], Measure]] = {
    "srocc": srocc,
    "plcc": plcc,
    "krocc": krocc,
    "rmse": rmse,
    "challenge": challenge,
}
