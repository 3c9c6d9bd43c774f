"""Wilson's interval is SciPy's, and stays inside 0-1."""

import math

import pytest
from scipy import stats

from evqa.metrics.proportion import wilson_interval


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (3, 10), (10, 10), (700, 1200)])
def test_the_interval_is_scipys(right, n):
    theirs = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson_interval(right / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_no_items_have_no_interval():
    assert all(map(math.isnan, wilson_interval(math.nan, 0)))
