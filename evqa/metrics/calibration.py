"""Do scores have the size of the labels? The line of the labels on the scores, and maps that give scores their size.

Scores may rank items well and still be too high, or too far apart. Of calibrated ones the least-squares line of the
labels on the scores has intercept 0 and slope 1 (Mincer and Zarnowitz 1969); a slope below 1: they are too far apart.

# N items, S seeds, R resamples, K knots
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from evqa.metrics.correlation import Vector, is_constant, obstacle
from evqa.metrics.evaluation import Estimate
from evqa.metrics.groups import Groups, count_groups
from evqa.metrics.intervals import plain_interval
from evqa.metrics.resampling import NUM_RESAMPLES, item_counts

Matrix = NDArray[np.float64]
SMALLEST_SPREAD = 1e-12  # of drawn scores within -1 and 1; below it they are equal but for rounding


class ScoreMap(Protocol):
    """From scores to the labels' scale."""

    def at(self, scores_N: Vector) -> Vector:
        """The expected label of every score."""
        ...


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """intercept + slope * score."""

    intercept: float
    slope: float

    def at(self, scores_N: Vector) -> Vector:
        """The expected label of every score."""
        return np.asarray(self.intercept + self.slope * scores_N)


@dataclass(frozen=True, kw_only=True)
class KnotMap:
    """Straight between knots and constant outside. scores: rising; values: never falling."""

    scores: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, scores_N: Vector) -> Vector:
        """The expected label of every score."""
        return np.asarray(np.interp(scores_N, self.scores, self.values))


class LineEstimates(NamedTuple):
    """The line of the labels on the scores."""

    slope: Estimate
    intercept: Estimate


def fit_linear(scores_N: Vector, labels_N: Vector) -> LinearMap:
    """The least-squares line of the labels on the scores; level where the scores are all equal."""
    centre, mean = float(scores_N.mean()), float(labels_N.mean())
    away_N = scores_N - centre
    slope = 0.0 if is_constant(scores_N) else float(away_N @ (labels_N - mean) / (away_N @ away_N))
    return LinearMap(intercept=mean - slope * centre, slope=slope)


def fit_isotonic(scores_N: Vector, labels_N: Vector) -> KnotMap:
    """The least-squares curve that never falls (pool adjacent violators; Barlow et al. 1972); equal scores are one."""
    from scipy.optimize import isotonic_regression

    scores_K, place_N, sizes_K = np.unique(scores_N, return_inverse=True, return_counts=True)
    means_K = np.bincount(place_N, labels_N) / sizes_K
    values_K = isotonic_regression(means_K, weights=sizes_K).x
    steps = np.diff(values_K) > 0
    is_end_K = np.r_[True, steps] | np.r_[steps, True]  # the first and the last of equal values say all
    return KnotMap(scores=tuple(scores_K[is_end_K].tolist()), values=tuple(values_K[is_end_K].tolist()))


FITS: Mapping[str, Callable[[Vector, Vector], ScoreMap]] = {"linear": fit_linear, "isotonic": fit_isotonic}


def line_estimates(
    predictions: Sequence[Matrix],
    labels_N: Vector,
    *,
    groups: Groups | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[LineEstimates]:
    """Slope and intercept of each prediction, with intervals over items or whole groups.

    predictions: of each the scores [S, N] of its seeds, whose mean counts; finite, in the labels' scale. All are
    resampled alike, as by `evqa.metrics.bootstrap`.
    """
    slope_SR, intercept_SR = _line_draws(
        np.concatenate(predictions), labels_N, groups, num_resamples=num_resamples, seed=seed
    )
    num_units = count_groups(groups) or len(labels_N)
    found, begin = [], 0
    for scores_SN in predictions:
        rows = slice(begin, begin := begin + len(scores_SN))
        lines = [fit_linear(scores_N, labels_N) for scores_N in scores_SN]
        reason = next(filter(None, (obstacle(scores_N, labels_N) for scores_N in scores_SN)), None)
        slope, intercept = ([getattr(line, name) for line in lines] for name in ("slope", "intercept"))
        found.append(
            LineEstimates(
                _estimate(slope, slope_SR[rows], num_units, reason),
                _estimate(intercept, intercept_SR[rows], num_units, reason),
            )
        )
    return found


def _estimate(values: Sequence[float], draws_SR: Matrix, num_units: int, reason: str | None) -> Estimate:
    if reason:
        return Estimate(value=np.nan, low=np.nan, high=np.nan, reason=reason)
    mean = float(np.mean(values))
    ends = plain_interval(mean, draws_SR.mean(axis=0), num_units=num_units)
    return Estimate(value=mean, low=ends.low, high=ends.high, reason=ends.reason)


def _line_draws(
    scores_SN: Matrix, labels_N: Vector, groups: Groups | None, *, num_resamples: int, seed: int
) -> tuple[Matrix, Matrix]:
    """Draws [S, R] of slopes and intercepts; NaN where all drawn items have one score."""
    order_N = np.argsort(labels_N, kind="stable")  # of the counts
    centre_S, mean = scores_SN.mean(axis=1), labels_N.mean()
    x_NS, y_N = (scores_SN - centre_S[:, None]).T[order_N], labels_N[order_N] - mean
    scale_S = np.maximum(np.abs(x_NS).max(axis=0), np.finfo(float).tiny)
    x_NS = x_NS / scale_S
    slopes, intercepts = [], []
    for counts_RN in item_counts(labels_N, groups, num_resamples=num_resamples, seed=seed):
        num_R1 = counts_RN.sum(axis=1, keepdims=True)
        x_RS, y_R1 = counts_RN @ x_NS / num_R1, counts_RN @ y_N[:, None] / num_R1
        spread_RS = counts_RN @ x_NS**2 / num_R1 - x_RS**2
        together_RS = counts_RN @ (x_NS * y_N[:, None]) / num_R1 - x_RS * y_R1
        with np.errstate(divide="ignore", invalid="ignore"):
            slope_RS = np.where(spread_RS > SMALLEST_SPREAD, together_RS / spread_RS, np.nan)
        slopes.append(slope_RS / scale_S)
        intercepts.append(y_R1 + mean - slope_RS * (x_RS + centre_S / scale_S))
    return np.concatenate(slopes).T, np.concatenate(intercepts).T
