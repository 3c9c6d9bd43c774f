import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import METRICS, bootstrap
from evqa.metrics.equivalence import PairedScores, difference_interval, equivalence_p


def paired(first, second, labels, *, metric="challenge", **noise):
    draws = [bootstrap(one, labels, metrics=(metric,), num_resamples=500)[metric] for one in (first, second)]
    values = [METRICS[metric](one, labels).value for one in (first, second)]
    return PairedScores(values=tuple(values), draws_R=tuple(draws), num_units=len(labels), **noise)


@pytest.fixture(scope="module")
def two():
    labels, first, second = np.random.default_rng(0).normal(size=(3, 200))
    return paired(labels + first, labels + 0.9 * first + 0.5 * second, labels)


@pytest.mark.parametrize("noise", [{}, {"shift": 0.02, "freedom": 4}])
def test_equivalence_is_shown_exactly_where_the_90_percent_interval_lies_within_the_margin(two, noise):
    scores = replace(two, **noise)
    ends = difference_interval(scores, level=0.9)
    border = max(-ends.low, ends.high)
    assert equivalence_p(scores, margin=border + 1e-6) < 0.05 < equivalence_p(scores, margin=border - 1e-6)
    margins = np.linspace(0.001, 0.5, 30)
    p_values = [equivalence_p(scores, margin=margin) for margin in margins]
    assert p_values == sorted(p_values, reverse=True)
    assert p_values[0] > 0.5  # the value lies outside
    assert p_values[-1] < 1e-3


def test_the_order_of_two_predictions_says_nothing_and_training_widens(two):
    turned = replace(two, values=two.values[::-1], draws_R=two.draws_R[::-1])
    ends, other = (difference_interval(one, level=0.9) for one in (two, turned))
    assert (ends.low, ends.high) == pytest.approx((-other.high, -other.low))
    wide, noisy = (difference_interval(replace(two, shift=0.03, freedom=freedom), level=0.9) for freedom in (300, 3))
    assert noisy.low < wide.low < ends.low < ends.high < wide.high < noisy.high


def test_small_correlations_have_the_two_t_tests_of_a_textbook():
    """Near 0 Fisher's z is the correlation itself, and its error is the same at every margin."""
    n, rng = 400, np.random.default_rng(1)
    draws = 0.01 + rng.normal(scale=0.02, size=(2, 20_000))
    scores = PairedScores(values=(0.01, 0.0), draws_R=tuple(draws), num_units=n)
    error = np.std(draws[0] - draws[1]) * math.sqrt(n / (n - 3))
    for margin in (0.03, 0.06, 0.09):
        assert equivalence_p(scores, margin=margin) == pytest.approx(
            stats.t.sf((margin - 0.01) / error, n - 1), rel=0.02
        )


def test_equal_predictions_are_equivalent_within_any_margin_and_constant_ones_have_no_test():
    labels, scores = np.random.default_rng(2).normal(size=(2, 60))
    same = paired(scores, scores, labels)
    ends = difference_interval(same, level=0.9)
    assert ends.low == pytest.approx(0.0, abs=1e-7)
    assert ends.high == pytest.approx(0.0, abs=1e-7)
    assert equivalence_p(same, margin=1e-6) < 1e-6
    constant = paired(scores, np.ones(60), labels)
    assert "does not exist" in difference_interval(constant, level=0.9).reason
    assert math.isnan(equivalence_p(constant, margin=0.5))
