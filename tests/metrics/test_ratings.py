"""Outlier ratio and RMSE* against labels with ratings: by hand, and in every resample."""

import math

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import outlier_ratio, rating_draws, rating_half_widths, rmse_star
from evqa.metrics.resampling import item_counts


def test_half_widths_are_those_of_a_t_interval_of_the_ratings():
    ratings = np.random.default_rng(0).integers(1, 6, size=(3, 24)).astype(float)
    widths = rating_half_widths(ratings.std(axis=1, ddof=1), [24, 24, 24])
    for width, one in zip(widths, ratings, strict=True):
        ends = stats.ttest_1samp(one, 0).confidence_interval()
        assert width == pytest.approx((ends.high - ends.low) / 2)


def test_only_what_exceeds_the_labels_interval_is_an_error():
    scores, labels, widths = [1.0, 2.5, 3.0, 5.0], [1.2, 2.0, 3.0, 4.0], [0.3, 0.2, 0.1, 0.2]
    assert outlier_ratio(scores, labels, widths).value == 0.5
    assert rmse_star(scores, labels, widths).value == pytest.approx(math.sqrt((0.3**2 + 0.8**2) / 3))
    assert rmse_star(scores, labels, widths, num_parameters=2).value == pytest.approx(math.sqrt((0.09 + 0.64) / 2))


def test_each_draw_is_the_measure_of_the_resampled_items():
    rng = np.random.default_rng(1)
    labels, widths, groups = rng.normal(size=20), rng.uniform(0, 0.5, size=20), [f"{place // 2}" for place in range(20)]
    scores = labels + rng.normal(scale=0.4, size=20)
    draws = rating_draws(scores, labels, widths, num_parameters=4, groups=groups, num_resamples=30, seed=2)
    order = np.argsort(labels, kind="stable")
    rows = np.concatenate(list(item_counts(labels, groups, num_resamples=30, seed=2))).astype(int)
    for place, row in enumerate(rows):
        drawn = [values[np.repeat(order, row)] for values in (scores, labels, widths)]
        assert draws["outlier_ratio"][place] == pytest.approx(outlier_ratio(*drawn).value)
        assert draws["rmse_star"][place] == pytest.approx(rmse_star(*drawn, num_parameters=4).value)


@pytest.mark.parametrize(
    ("scores", "widths", "reason"),
    [
        ([1, math.nan], [0.1, 0.1], "1 of 2 scores are not finite"),
        ([1, 2], [0.1, math.nan], "1 of 2 half-widths are not finite or below 0"),
        ([1, 2], [0.1, -0.1], "1 of 2 half-widths are not finite or below 0"),
    ],
)
def test_what_does_not_exist_is_nan_with_a_reason(scores, widths, reason):
    for measure in (outlier_ratio, rmse_star):
        assert measure(scores, [1, 2], widths).reason == reason
        assert math.isnan(measure(scores, [1, 2], widths).value)
    assert all(np.isnan(values).all() for values in rating_draws(scores, [1, 2], widths, num_resamples=3).values())
    assert rmse_star([1], [2], [0.1]).reason == "needs more than 1 items, got 1"
