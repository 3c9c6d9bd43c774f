"""PLCC and RMSE after a logistic curve: a labelled extra, never the main number.

f(x) = b1 (1/2 - 1/(1 + exp(b2 (x - b3)))) + b4 x + b5   (Sheikh, Sabir, Bovik 2006, eq. 15)

The four-parameter curve of most tables of video quality is the same without its straight part, b4 = 0 (VQEG, final
report on the validation of objective models, 2000; b1 is the distance of its two ends, and 1/b2 its width).

`fit_original` repeats what most published code does, LMM-EVQA's `test.py` among it: Levenberg-Marquardt from one fixed
start. It is ill-conditioned: a relative change of 1e-7 in the scores can move the PLCC by 0.2, and a curve may bend
back and turn an anti-correlated prediction into +0.9. `fit_increasing` is our default: it searches the whole plane of
(slope, place) of the normalised scores, solves the other three parameters exactly for each, and allows only curves
that nowhere decrease over the scores (the mapping that ITU-T P.1401 asks for). `fit_four` does so with the
four-parameter curve.

# N items
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from evqa.metrics.correlation import Measure, Vector, as_vectors, is_constant, obstacle, plcc, rmse

NUM_PARAMETERS = 5
NUM_WITHOUT_LINE = 4
START = (10.0, 0.0, 0.1, 0.1)  # the original's b1, b2, b4, b5; its b3 is the mean score
MAX_EVALUATIONS = 100_000_000

SLOPES = tuple(np.geomspace(0.5, 16.0, 8))  # per standard deviation of the scores; 16 is a step over an eighth of it
PLACES = tuple(np.linspace(-3.0, 3.0, 9))  # in standard deviations from the mean
# Without a straight part the curve itself must become straight (slow), and half a curve where the scores end in it.
SLOPES_WITHOUT_LINE = tuple(np.geomspace(1 / 32, 128.0, 13))
PLACES_WITHOUT_LINE = tuple(np.linspace(-6.0, 6.0, 13))
NUM_REFINED = 3


def logistic(scores_N: Vector, b1: float, b2: float, b3: float, b4: float, b5: float) -> Vector:
    """The five-parameter curve at the scores, in the original's order of parameters."""
    return np.asarray(b1 * (_sigmoid(b2 * (scores_N - b3)) - 0.5) + b4 * scores_N + b5)


@dataclass(frozen=True, kw_only=True)
class LogisticFit:
    """PLCC and RMSE between fitted scores and labels, and the curve's parameters (empty where there is no fit)."""

    plcc: Measure
    rmse: Measure
    parameters: tuple[float, ...] = ()


def fit_original(scores: ArrayLike, labels: ArrayLike) -> LogisticFit:
    """The curve as the original finds it: start [10, 0, mean, 0.1, 0.1], least squares by Levenberg-Marquardt.

    Differs from it only where it fails: fewer than five items are a NaN with a reason, not a TypeError. Where the
    problem is badly conditioned the optimiser may take a million steps, so this is for comparisons with it only.
    """
    return _fit(scores, labels, _levenberg_marquardt)


def fit_increasing(scores: ArrayLike, labels: ArrayLike) -> LogisticFit:
    """The best curve that nowhere decreases over the scores; stable under small changes of them.

    Scores that fall where labels rise have no such curve but a constant: their PLCC is NaN with that reason.
    """
    return _fit(scores, labels, partial(_search, solve=_solve, slopes=SLOPES, places=PLACES))


def fit_four(scores: ArrayLike, labels: ArrayLike) -> LogisticFit:
    """The best four-parameter curve (b4 = 0) that nowhere decreases.

    Published code takes Levenberg-Marquardt from one start, and lets the curve fall: then scores that fall where labels
    rise get a positive PLCC. Where the curve rises and that start leads to the best one, both are the same.
    """
    find = partial(_search, solve=_solve_without_line, slopes=SLOPES_WITHOUT_LINE, places=PLACES_WITHOUT_LINE)
    return _fit(scores, labels, find, num_parameters=NUM_WITHOUT_LINE)


def _fit(
    scores: ArrayLike,
    labels: ArrayLike,
    find: Callable[[Vector, Vector], Vector],
    *,
    num_parameters: int = NUM_PARAMETERS,
) -> LogisticFit:
    scores_N, labels_N = as_vectors(scores, labels)
    reason = obstacle(scores_N, labels_N, correlation=False)
    if reason is None and len(scores_N) < num_parameters:
        reason = f"a curve of {num_parameters} parameters needs at least as many items, got {len(scores_N)}"
    if reason is not None:
        nothing = Measure(value=math.nan, reason=reason)
        return LogisticFit(plcc=nothing, rmse=nothing)
    parameters = find(scores_N, labels_N)
    fitted_N = logistic(scores_N, *parameters)
    correlation = plcc(fitted_N, labels_N)
    if is_constant(fitted_N):
        reason = obstacle(scores_N, labels_N) or "no increasing curve is better than a constant"
        correlation = Measure(value=math.nan, reason=reason)
    return LogisticFit(plcc=correlation, rmse=rmse(fitted_N, labels_N), parameters=tuple(map(float, parameters)))


def _original_curve(x: Vector, b1: float, b2: float, b3: float, b4: float, b5: float) -> Vector:
    # Term for term as in the original: the optimiser's path, and so its local minimum, depends on the last bits.
    return np.asarray(b1 * (0.5 - 1.0 / (1 + np.exp(b2 * (x - b3)))) + x * b4 + b5)


def _levenberg_marquardt(scores_N: Vector, labels_N: Vector) -> Vector:
    from scipy import optimize

    b1, b2, b4, b5 = START
    start = (b1, b2, float(np.mean(scores_N)), b4, b5)
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", optimize.OptimizeWarning)  # a singular covariance, which nobody reads
        found, _ = optimize.curve_fit(_original_curve, scores_N, labels_N, p0=start, maxfev=MAX_EVALUATIONS)
    return np.asarray(found)


@dataclass(frozen=True)
class _Candidate:
    """Best increasing curve of a given slope and place, in normalised scores."""

    error: float
    b1: float
    b4: float


Solve = Callable[[Vector, Vector, float, float], _Candidate]  # of scores and labels (normalised), slope and place


def _search(
    scores_N: Vector, labels_N: Vector, *, solve: Solve, slopes: tuple[float, ...], places: tuple[float, ...]
) -> Vector:
    """Grid over slope and place, then Nelder-Mead from the best few; back to the scores' own scale at the end."""
    from scipy import optimize

    centre, spread, label_spread = float(scores_N.mean()), float(scores_N.std()) or 1.0, float(labels_N.std()) or 1.0
    x_N, residual_N = (scores_N - centre) / spread, (labels_N - labels_N.mean()) / label_spread
    ends = (math.log(slopes[0]), math.log(slopes[-1]))

    def slope_of(point: Vector) -> float:
        return float(np.exp(np.clip(point[0], *ends)))

    def error(point: Vector) -> float:
        outside = max(0.0, abs(point[1]) - places[-1]) + abs(point[0] - np.clip(point[0], *ends))
        return float(solve(x_N, residual_N, slope_of(point), point[1]).error * (1 + outside))

    grid = sorted((error(np.array(point)), point) for point in product(np.log(slopes), places))
    tries = [optimize.minimize(error, point, method="Nelder-Mead") for _, point in grid[:NUM_REFINED]]
    found = min(tries, key=lambda result: float(result.fun)).x
    slope, place = slope_of(found), float(found[1])
    best = solve(x_N, residual_N, slope, place)
    b1, b4 = best.b1 * label_spread, best.b4 * label_spread / spread
    b2, b3 = slope / spread, centre + place * spread
    b5 = float(np.mean(labels_N - logistic(scores_N, b1, b2, b3, b4, 0.0)))
    return np.array([b1, b2, b3, b4, b5])


def _solve(x_N: Vector, residual_N: Vector, slope: float, place: float) -> _Candidate:
    """Least squares in (b1, b4) with a non-negative derivative b4 + b1 g(x), where g = slope s (1 - s) > 0.

    The derivative is linear in g, so it is non-negative between the scores if it is so at the smallest and the largest
    g there (at the bend, where that lies between them): with u and v the derivatives at those two, both at least 0,
    the problem is one of non-negative least squares.
    """
    s_N = _sigmoid(slope * (x_N - place))
    g_N = slope * s_N * (1 - s_N)
    g_low, g_high = float(g_N.min()), slope / 4 if x_N.min() < place < x_N.max() else float(g_N.max())
    width = max(g_high - g_low, 1e-12)
    bend_N = (s_N - s_N.mean()) / width
    columns_N2 = np.stack([g_high / width * x_N - bend_N, bend_N - g_low / width * x_N], axis=1)
    u, v = _non_negative(columns_N2.T @ columns_N2, columns_N2.T @ residual_N)
    fitted_N = columns_N2 @ (u, v)
    return _Candidate(float(np.sum((residual_N - fitted_N) ** 2)), (v - u) / width, (u * g_high - v * g_low) / width)


def _solve_without_line(x_N: Vector, residual_N: Vector, slope: float, place: float) -> _Candidate:
    """Least squares in b1 >= 0 alone."""
    s_N = _sigmoid(slope * (x_N - place))
    s_N = s_N - s_N.mean()
    size = float(s_N @ s_N)
    b1 = max(0.0, float(s_N @ residual_N) / size) if size > 0 else 0.0
    return _Candidate(float(np.sum((residual_N - b1 * s_N) ** 2)), b1, 0.0)


def _sigmoid(x_N: Vector) -> Vector:
    from scipy.special import expit

    return np.asarray(expit(x_N))


def _non_negative(gram: Vector, moments: Vector) -> tuple[float, float]:
    """Non-negative least squares of two columns, from their normal equations."""
    found = np.linalg.lstsq(gram, moments, rcond=None)[0]
    if found.min() >= 0:
        return float(found[0]), float(found[1])
    alone = [max(0.0, float(moments[k] / gram[k, k])) if gram[k, k] > 0 else 0.0 for k in (0, 1)]
    gains = [alone[k] * float(moments[k]) for k in (0, 1)]
    return (alone[0], 0.0) if gains[0] >= gains[1] else (0.0, alone[1])
