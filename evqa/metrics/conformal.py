"""Prediction intervals of recalibrated scores: an interval that holds a new item's label with a stated probability.

The half width is a quantile of the absolute errors of held-out items (split conformal prediction: Papadopoulos et al.
2002). Held out are folds, groups whole, so that every item serves the map and its error (cross-conformal: Vovk 2015).
Where items form groups, each group weighs the same (Lee, Barber and Willett 2023, hierarchical conformal prediction):
the statement is about an item of a new group. It assumes that new items come from where these come from.

# N items, U units (groups, or items without one)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evqa.config.metric_names import with_groups
from evqa.errors import AnnotationError
from evqa.metrics.calibration import FITS, LinearMap, LineEstimates, ScoreMap, line_estimates
from evqa.metrics.correlation import ROUNDING, Vector, obstacle, rmse
from evqa.metrics.groups import Groups, count_groups, numbered

Indices = NDArray[np.intp]
NUM_FOLDS = 10
MIN_UNITS = 10
THIRDS = 3


@dataclass(frozen=True, kw_only=True)
class Recalibration:
    """A map from scores to labels, and the half width of the intervals around it.

    span: the ends of the label's scale; what lies outside is cut. level: the stated share of labels inside.
    """

    curve: ScoreMap
    span: tuple[float, float]
    half_width: float
    level: float

    def calibrated(self, scores_N: Vector) -> Vector:
        """Recalibrated scores, within the scale."""
        return np.clip(self.curve.at(scores_N), *self.span)

    def interval(self, scores_N: Vector) -> tuple[Vector, Vector]:
        """Both ends of every item's interval, within the scale."""
        middle_N, (low, high) = self.calibrated(scores_N), self.span
        return np.maximum(middle_N - self.half_width, low), np.minimum(middle_N + self.half_width, high)


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """A recalibration, and how good scores were before and after it.

    line: of the labels on the scores. rmse_before: of the scores as they are. Out of fold, so that no item is judged by
    a map or a width that its label has entered: rmse_after; coverage, the share of labels inside their interval, of all
    items and of those with the lowest, middle and highest scores.
    """

    recalibration: Recalibration
    n: int
    num_groups: int | None
    line: LineEstimates
    rmse_before: float
    rmse_after: float
    coverage: float
    coverage_of_thirds: tuple[float, ...]

    @property
    def num_units(self) -> int:
        """What the level's finite-sample correction counts: groups, or items."""
        return self.num_groups or self.n


def recalibrate(
    scores_N: Vector,
    labels_N: Vector,
    *,
    span: tuple[float, float],
    groups: Groups | None = None,
    method: str = "linear",
    level: float = 0.9,
    seed: int = 0,
) -> CalibrationResult:
    """Fit a map, measure its errors out of fold, and check the intervals on folds that had no part in them.

    scores_N, labels_N: in the label's scale. method: linear or isotonic. seed: of the folds.

    Raises:
        AnnotationError: there is no map (constant or falling), or there are too few items for the level.
    """
    if reason := obstacle(scores_N, labels_N):
        raise AnnotationError(f"{reason}, so there is nothing to calibrate")
    unit_N = numbered(groups) if groups is not None else np.arange(len(labels_N))
    _check_number(len(labels_N), count_groups(groups), level)
    fold_N = _folds(unit_N, seed=seed)
    held_out_N, covered_N = np.empty(len(labels_N)), np.empty(len(labels_N))
    for fold in range(NUM_FOLDS):
        out, rest = fold_N == fold, fold_N != fold
        one = _fitted(scores_N[rest], labels_N[rest], unit_N[rest], fold_N[rest], method=method, span=span, level=level)
        held_out_N[out] = one.calibrated(scores_N[out])
        low, high = one.interval(scores_N[out])
        covered_N[out] = (low <= labels_N[out]) & (labels_N[out] <= high)
    whole = _fitted(scores_N, labels_N, unit_N, fold_N, method=method, span=span, level=level)
    _check_rises(whole.curve)
    thirds = np.array_split(np.argsort(scores_N, kind="stable"), THIRDS)
    return CalibrationResult(
        recalibration=whole,
        n=len(labels_N),
        num_groups=count_groups(groups),
        line=line_estimates([scores_N[None]], labels_N, groups=groups)[0],
        rmse_before=rmse(scores_N, labels_N).value,
        rmse_after=rmse(held_out_N, labels_N).value,
        coverage=float(covered_N.mean()),
        coverage_of_thirds=tuple(float(covered_N[third].mean()) for third in thirds),
    )


def half_width(errors_N: Vector, unit_N: Indices, *, level: float) -> float:
    """The smallest width that holds a share `level` of the errors, one unit more counted as outside.

    Without groups: the ceil((n + 1) level)-th smallest. Infinite where there are too few units.
    """
    _, place_N, sizes_U = np.unique(unit_N, return_inverse=True, return_counts=True)
    order_N = np.argsort(errors_N, kind="stable")
    inside_N = np.cumsum(1 / sizes_U[place_N[order_N]]) / (len(sizes_U) + 1)
    place = int(np.searchsorted(inside_N, level - 1e-9))
    return float(errors_N[order_N[place]]) if place < len(errors_N) else math.inf


def coverage_range(num_units: int, *, level: float) -> tuple[float, float]:
    """The middle 95 % of what such intervals truly hold: it depends on the items that they were made of.

    Of held-out errors of independent units, the true share is Beta distributed (Vovk 2012, proposition 2a).
    """
    from scipy import stats

    rank = math.ceil((num_units + 1) * level - 1e-9)
    low, high = stats.beta.ppf((0.025, 0.975), rank, num_units + 1 - rank)
    return float(low), float(high)


def fewest_units(level: float) -> int:
    """How many items or groups the intervals of a level need, also where a fold of them is left out."""
    return max(MIN_UNITS, math.ceil(math.ceil(level / (1 - level) - 1e-9) / (1 - 1 / NUM_FOLDS) - 1e-9))


def _fitted(
    scores_N: Vector,
    labels_N: Vector,
    unit_N: Indices,
    fold_N: Indices,
    *,
    method: str,
    span: tuple[float, float],
    level: float,
) -> Recalibration:
    """The map of all items, with the width of the errors that maps without an item's fold have."""
    fit, errors_N = FITS[method], np.empty(len(labels_N))
    for fold in np.unique(fold_N):
        out = fold_N == fold
        curve = fit(scores_N[~out], labels_N[~out])
        errors_N[out] = np.abs(np.clip(curve.at(scores_N[out]), *span) - labels_N[out])
    width = half_width(errors_N, unit_N, level=level)
    return Recalibration(curve=fit(scores_N, labels_N), span=span, half_width=width, level=level)


def _folds(unit_N: Indices, *, seed: int) -> Indices:
    """The fold of every item: units shuffled and dealt out."""
    num_units = int(unit_N.max()) + 1
    fold_U = np.empty(num_units, dtype=np.intp)
    fold_U[np.random.default_rng(seed).permutation(num_units)] = np.arange(num_units) % NUM_FOLDS
    return fold_U[unit_N]


def _check_number(n: int, num_groups: int | None, level: float) -> None:
    needed = fewest_units(level)
    if (num_groups or n) < needed:
        kinds = "items" if num_groups is None else "groups"
        told = with_groups(f"{n} labelled items", num_groups)
        raise AnnotationError(
            f"{told} are too few for {100 * level:g} % intervals; at least {needed} {kinds} are needed"
        )


def _check_rises(curve: ScoreMap) -> None:
    """Raise AnnotationError where higher scores would not get higher values."""
    if isinstance(curve, LinearMap):
        if curve.slope <= ROUNDING:
            raise AnnotationError(
                f"the labels do not rise with the scores (slope {curve.slope:.3g}), so that a line would turn the "
                "ranking around or level it"
            )
    elif curve.at(np.array([-np.inf]))[0] >= curve.at(np.array([np.inf]))[0]:
        raise AnnotationError("the labels do not rise with the scores, so that the isotonic curve is constant")
