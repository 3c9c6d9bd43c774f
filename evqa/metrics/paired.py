"""Is one prediction better than another on the same items? Paired bootstrap, Holm's correction, detectable size.

Two unpaired 95 % intervals of an SROCC at N = 8459 are 0.023 wide each; the difference of two similar predictions on
the same items has an interval several times narrower, because both are lucky or unlucky with the same items.

# N items, R resamples
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evqa.metrics.correlation import METRICS, Vector
from evqa.metrics.groups import Groups
from evqa.metrics.resampling import LEVEL, NUM_RESAMPLES, bootstrap, interval

ALPHA = 0.05
POWER = 0.80
PER_BORDER = 200  # of so many draws one must lie beyond zero, or their number says little
NUM_QUANTILES = 200  # of an estimated variance


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`first - second` of a metric on the same items.

    low, high: percentile interval. p: two-sided, from the same draws. standard_error: of the difference.
    detectable: the smallest true difference that this comparison would have shown with 80 % probability.
    reason: why there is no value or no interval; None where both exist.
    """

    value: float
    low: float
    high: float
    p: float
    standard_error: float
    detectable: float
    reason: str | None = None


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    *,
    metric: str = "challenge",
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> Difference:
    """Compare two predictions of the same items by resampling the items (or groups), the same ones for both.

    Says what other items would have given; it knows nothing of other training seeds.
    """
    one, other = METRICS[metric](first, labels), METRICS[metric](second, labels)
    draws = [
        bootstrap(scores, labels, metrics=(metric,), num_resamples=num_resamples, seed=seed, groups=groups)[metric]
        for scores in (first, second)
    ]
    return difference_of_draws(
        one.value - other.value, draws[0] - draws[1], level=level, reason=one.reason or other.reason
    )


def difference_of_draws(
    value: float, draws_R: Vector, *, level: float = LEVEL, reason: str | None = None
) -> Difference:
    """A difference from its value and its bootstrap draws."""
    ends = interval(draws_R, level=level)
    reason = reason or ends.reason
    error = math.nan if reason else float(np.nanstd(draws_R, ddof=1))
    return Difference(
        value=value,
        low=ends.low,
        high=ends.high,
        p=math.nan if reason else two_sided_p(draws_R),
        standard_error=error,
        detectable=smallest_detectable(error),
        reason=reason,
    )


def two_sided_p(draws_R: Vector, *, error: float | None = None, freedom: float = math.inf) -> float:
    """Twice the share of draws beyond zero: below 0.05 where the 95 % percentile interval excludes zero.

    One draw is added on each side (Davison and Hinkley 1997, eq. 4.11), and draws of exactly zero count for both sides,
    so equal predictions have p = 1. Where less than 0.5 % of the draws lie beyond zero, their number says little and
    has a floor, which Holm's correction of a large family would lift above 0.05: there the tail is that of a t
    distribution (`freedom`; normal where it is infinite) around the median with standard deviation `error` (the draws'
    own by default), scaled to agree with the count at its border.
    """
    defined = np.sort(draws_R[np.isfinite(draws_R)])
    defined = defined if np.median(defined) >= 0 else -defined[::-1]
    beyond, border = int((defined <= 0).sum()), len(defined) // PER_BORDER
    if beyond >= border or np.ptp(defined) < 1e-12:
        return min(1.0, 2 * (beyond + 1) / (len(defined) + 1))
    from scipy import stats

    error = float(defined.std(ddof=1)) if error is None else error
    centre, at_border = float(np.median(defined)), 2 * (border + 1) / (len(defined) + 1)
    outside = stats.t.logsf([centre / error, (centre - defined[border - 1]) / error], freedom)
    return float(at_border * np.exp(outside[0] - outside[1]))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the given order; NaN stay NaN and do not count as tests.

    Rejecting where the result is below alpha keeps the chance of any false finding in the family below alpha.
    """
    adjusted = [math.nan] * len(p_values)
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted


def smallest_detectable(
    standard_error: float,
    *,
    shift: float = 0.0,
    freedom: int = 0,
    family: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float:
    """The smallest true difference that the two-sided test finds with that power, where no other of the family does.

    2.80 standard errors for 5 % and 80 % of a single test. With the SE of a paired bootstrap it belongs to this n and
    this pair of predictions. family: the number of tests that Holm's correction counts. shift: standard deviation of
    the noise of training in the difference, estimated with `freedom` degrees of freedom: the test then needs a
    quantile of t, and its threshold is as uncertain as the estimate (the two parts of an interval are joined as by Zou
    and Donner 2008, Statistics in Medicine 27).
    """
    known = unbiased_deviation(shift, freedom) if freedom else 0.0
    return planned_detectable(standard_error, shift=known, freedom=freedom, family=family, alpha=alpha, power=power)


def planned_detectable(
    standard_error: float,
    *,
    shift: float = 0.0,
    freedom: int = 0,
    family: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float:
    """As `smallest_detectable`, of a study that is not made yet.

    shift: the true one, which that study will estimate with `freedom` degrees of freedom.
    """
    from scipy import optimize, stats

    if math.isnan(standard_error):
        return math.nan
    normal = stats.norm.isf(alpha / (2 * family)) * standard_error
    if not (freedom and shift):
        return float(normal + stats.norm.ppf(power) * standard_error)
    ratios = np.sqrt(stats.chi2.ppf((np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES, freedom) / freedom)
    thresholds = np.hypot(normal, stats.t.isf(alpha / (2 * family), freedom) * shift * ratios)
    error = math.hypot(standard_error, shift)

    def lacking(difference: float) -> float:
        return float(stats.norm.cdf((difference - thresholds) / error).mean()) - power

    return float(optimize.brentq(lacking, 0.0, 2 * thresholds.max() + 10 * error))


def unbiased_deviation(deviation: float, freedom: int) -> float:
    """A standard deviation that was estimated with these degrees of freedom, without its bias to small values."""
    return deviation / _bias_of_deviation(freedom)


def _bias_of_deviation(freedom: int) -> float:
    """The expected standard deviation of a normal sample over the true one (c4): 0.886 for 2 degrees of freedom."""
    return math.sqrt(2 / freedom) * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
