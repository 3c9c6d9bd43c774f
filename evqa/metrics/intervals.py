"""The interval of a metric from its bootstrap draws: symmetric on a scale on which its error is.

Percentile intervals of PLCC and RMSE hold the true value in 90 to 92 % of cases at 30 items (docs/statistics.md). A
correlation is taken to Fisher's z = artanh(r), RMSE to its logarithm; there the bootstrap gives the standard error and
Student's t with one degree of freedom less than there are items (or groups) the width.

# R resamples
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evqa.metrics.correlation import MIN_ITEMS, ROUNDING, Vector
from evqa.metrics.proportion import wilson_interval
from evqa.metrics.resampling import LEVEL, MAX_UNDEFINED, Interval

METHOD = "t interval with the bootstrap's standard error; correlations on Fisher's z scale, RMSE on the log scale"


def estimate_interval(metric: str, value: float, draws_R: Vector, *, num_units: int, level: float = LEVEL) -> Interval:
    """The interval of a metric's value; NaN ends and a reason where there is none.

    num_units: what was drawn, items or groups of them. Resamples without a value are left out if they are few.
    """
    is_rmse, is_kept_R = metric == "rmse", np.isfinite(draws_R)
    if is_rmse:
        is_kept_R &= draws_R > 0
    what = "the error is 0" if is_rmse else "the metric does not exist"
    if reason := _no_interval(value, is_kept_R, num_units=num_units, what=what):
        return _none(reason)
    defined_R = draws_R[is_kept_R]
    quantile = _quantile(num_units, level)
    if is_rmse:
        half = quantile * _standard_error(np.log(defined_R), num_units)
        return Interval(low=value * math.exp(-half), high=value * math.exp(half))
    return _correlation(value, defined_R, num_units=num_units, quantile=quantile)


def share_interval(
    value: float, draws_R: Vector, *, num_units: int, num_judged: float, level: float = LEVEL
) -> Interval:
    """The interval of a value in 0-1: Wilson's with a quantile of t, of as many items as have the draws' error.

    So it stays in 0-1 and is never a point. num_judged: how many items stand in where the draws have no error, or the
    value is 0 or 1.
    """
    is_kept_R = np.isfinite(draws_R)
    if reason := _no_interval(value, is_kept_R, num_units=num_units, what="the measure does not exist"):
        return _none(reason)
    defined_R = draws_R[is_kept_R]
    error, variance = _standard_error(defined_R, num_units), value * (1 - value)
    like = variance / error**2 if error > ROUNDING and variance > ROUNDING else num_judged
    low, high = wilson_interval(value, like, quantile=_quantile(num_units, level))
    return Interval(low=low, high=high)


def plain_interval(value: float, draws_R: Vector, *, num_units: int, level: float = LEVEL) -> Interval:
    """The interval of a value that may be any number, on its own scale; num_units and what is left out as above."""
    is_kept_R = np.isfinite(draws_R)
    if reason := _no_interval(value, is_kept_R, num_units=num_units, what="the value does not exist"):
        return _none(reason)
    half = _quantile(num_units, level) * _standard_error(draws_R[is_kept_R], num_units)
    return Interval(low=value - half, high=value + half)


def _correlation(value: float, draws_R: Vector, *, num_units: int, quantile: float) -> Interval:
    """On Fisher's z scale, cut at half of the smallest step below a perfect ranking of these items.

    Beyond it the draws tell no error, and that of a normal sample stands in for it (Bonett and Wright 2000).
    """
    count = max(num_units, MIN_ITEMS)
    most = 1 - 6 / (count * (count**2 - 1))
    centre = math.atanh(min(max(value, -most), most))
    half = quantile * _standard_error(np.arctanh(np.clip(draws_R, -most, most)), num_units)
    if abs(value) <= most:
        return Interval(low=math.tanh(centre - half), high=math.tanh(centre + half))
    half = max(half, quantile * math.sqrt((1 + value**2 / 2) / max(num_units - 3, 1)))
    inner = math.tanh(abs(centre) - half)
    return Interval(low=inner, high=1.0) if value > 0 else Interval(low=-1.0, high=-inner)


def _standard_error(draws_R: Vector, num_units: int) -> float:
    """The draws' standard deviation; a resample has the variance of its items, divided by n and not by n - 1."""
    return float(np.std(draws_R, ddof=1)) * math.sqrt(num_units / (num_units - 1))


def _quantile(num_units: int, level: float) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + level) / 2, num_units - 1))


def _no_interval(value: float, is_kept_R: NDArray[np.bool_], *, num_units: int, what: str) -> str | None:
    """Why there is no interval; None where there is one. is_kept_R: draws that can be used. what: ails the others."""
    if len(is_kept_R) == 0:
        return "no resamples were drawn"
    if num_units < 2:
        return "a single item or group has no spread"
    num_undefined = int((~is_kept_R).sum())
    if math.isnan(value) or num_undefined > MAX_UNDEFINED * len(is_kept_R):
        return f"{what} in {num_undefined} of {len(is_kept_R)} resamples"
    return None


def _none(reason: str) -> Interval:
    return Interval(low=math.nan, high=math.nan, reason=reason)
