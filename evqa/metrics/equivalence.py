"""Are two predictions equally good, up to a stated margin? Two one-sided tests, paired.

Equivalence at level a is shown where the interval of confidence 1 - 2a of the difference lies within the margin
(Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15). Away from zero the error of a difference of
correlations depends on it, for the lower one is the more uncertain: percentiles of paired draws, or their standard
error, call 7 % of predictions of 60 items equivalent that differ by the margin. So each value is tested with the error
that the difference would have if it were that value (Farrington and Manning 1990, Statistics in Medicine 9): the draws
are taken to Fisher's z scale, on which errors are alike everywhere, and back at two scores that lie so far apart.

# R resamples
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evqa.metrics.correlation import Vector
from evqa.metrics.resampling import MAX_UNDEFINED, Interval

LARGEST = 1 - 1e-9  # correlation, for a finite z
SMALLEST_P = 1e-12
FARTHEST = 4.0  # from a difference, beyond every other one of two correlations


@dataclass(frozen=True, kw_only=True)
class PairedScores:
    """Correlations of two predictions of the same items: values, and paired draws over resampled items or groups.

    shift: standard deviation of the noise of training in the difference, estimated with `freedom` degrees of freedom,
    0 where it is not known. Both parts of an interval are joined as by Zou and Donner (2008).
    """

    values: tuple[float, float]
    draws_R: tuple[Vector, Vector]
    num_units: int
    shift: float = 0.0
    freedom: int = 0

    @property
    def difference(self) -> float:
        """`first - second`."""
        return self.values[0] - self.values[1]

    @cached_property
    def covariance(self) -> NDArray[np.float64] | None:
        """Of the scores on Fisher's z scale, over items: its variance is that of n - 3 items. None without a test."""
        draws_2R = np.array(self.draws_R)
        defined_2R = draws_2R[:, np.isfinite(draws_2R).all(axis=0)]
        if math.isnan(self.difference) or defined_2R.shape[1] < (1 - MAX_UNDEFINED) * draws_2R.shape[1]:
            return None
        z_2R = np.arctanh(np.clip(defined_2R, -LARGEST, LARGEST))
        return np.asarray(np.cov(z_2R) * self.num_units / max(self.num_units - 3, 1))

    def items_error(self, gap: float) -> float:
        """Standard error over items of a difference whose true value is `gap`."""
        assert self.covariance is not None
        centre = sum(self.values) / 2
        apart = np.clip([centre + gap / 2, centre - gap / 2], -LARGEST, LARGEST)
        slopes = (1 - apart**2) * [1, -1]
        return math.sqrt(max(0.0, float(slopes @ self.covariance @ slopes)))

    def reach(self, gap: float, p: float) -> float:
        """How far an estimate must lie from `gap` for a one-sided p."""
        from scipy import stats

        items = float(stats.t.isf(p, self.num_units - 1)) * self.items_error(gap)
        return math.hypot(items, float(stats.t.isf(p, self.freedom)) * self.shift) if self.freedom else items


def difference_interval(scores: PairedScores, *, level: float) -> Interval:
    """The values that a two-sided test of `1 - level` does not exclude; NaN ends where there is no test."""
    from scipy import optimize

    if scores.covariance is None:
        return Interval(low=math.nan, high=math.nan, reason="the metric does not exist in too many resamples")

    def end(sign: int) -> float:
        def beyond(distance: float) -> float:
            return distance - scores.reach(scores.difference + sign * distance, (1 - level) / 2)

        distance = float(optimize.brentq(beyond, 0.0, FARTHEST)) if beyond(0.0) < 0 else 0.0
        return scores.difference + sign * distance

    return Interval(low=end(-1), high=end(1))


def equivalence_p(scores: PairedScores, *, margin: float) -> float:
    """The larger p of "the difference is the margin or more" and "minus the margin or less"; NaN without a test."""
    if scores.covariance is None:
        return math.nan
    return max(_one_sided(scores, gap=sign * margin, distance=margin - sign * scores.difference) for sign in (1, -1))


def _one_sided(scores: PairedScores, *, gap: float, distance: float) -> float:
    """The p of an estimate this far on the inner side of `gap`; below 0: on the outer one."""
    from scipy import optimize

    def lacking(p: float) -> float:
        return scores.reach(gap, p) - abs(distance)

    p = float(optimize.brentq(lacking, SMALLEST_P, 0.5)) if lacking(SMALLEST_P) > 0 else SMALLEST_P
    return p if distance > 0 else 1 - p
