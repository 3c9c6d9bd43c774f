"""The interval of a proportion."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054  # of the normal distribution, two-sided 95 %


def wilson_interval(mean: float, n: float, *, quantile: float = Z_95) -> tuple[float, float]:
    """95 % interval of a mean of n values in 0-1 (Wilson, JASA 22, 1927): inside 0-1, also where all are alike.

    quantile: of another distribution, or for another level.
    Exact in its assumptions for right and wrong. Of marks between 0 and 1 it is too wide, never too narrow, because
    their variance is at most that of right and wrong with the same mean. NaN where n is 0.
    """
    if not n:
        return math.nan, math.nan
    square = quantile**2 / n
    middle = (mean + square / 2) / (1 + square)
    half = quantile / (1 + square) * math.sqrt(mean * (1 - mean) / n + square / (4 * n))
    return max(0.0, min(mean, middle - half)), min(1.0, max(mean, middle + half))  # the mean is inside, rounded too
