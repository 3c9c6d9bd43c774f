"""Calibration: the line, the maps and the intervals are those of their definitions, and hold what they state."""

import math

import numpy as np
import pytest
from scipy import stats

from evqa.errors import AnnotationError
from evqa.metrics.calibration import _line_draws, fit_isotonic, fit_linear, line_estimates
from evqa.metrics.conformal import coverage_range, fewest_units, half_width, recalibrate
from tests.simulations.calibration import chosen, held


@pytest.fixture
def sample():
    generator = np.random.default_rng(0)
    labels = generator.uniform(size=60)
    return 0.3 + 0.4 * labels + 0.08 * generator.normal(size=60), labels, [f"g{place // 4}" for place in range(60)]


def test_the_line_is_that_of_least_squares_and_level_for_equal_scores(sample):
    scores, labels, _ = sample
    line = fit_linear(scores, labels)
    assert (line.slope, line.intercept) == pytest.approx(tuple(np.polyfit(scores, labels, 1)))
    assert vars(fit_linear(np.full(60, 0.7), labels)) == {"slope": 0.0, "intercept": labels.mean()}


def test_draws_are_lines_of_resampled_items_and_groups_are_drawn_whole(sample):
    scores, labels, groups = sample
    order = np.argsort(labels, kind="stable")
    for given in (None, groups):
        slopes, intercepts = _line_draws(np.stack([scores, 2 * scores]), labels, given, num_resamples=5, seed=3)
        assert (slopes[1], intercepts[1]) == (pytest.approx(slopes[0] / 2), pytest.approx(intercepts[0]))
        units = np.arange(60) if given is None else np.array([int(name[1:]) for name in groups])
        names = list(dict.fromkeys(units[order]))  # numbered as they appear, in the order of the labels
        for drawn, slope, intercept in zip(
            np.random.default_rng(3).integers(0, len(names), (5, len(names))), slopes[0], intercepts[0], strict=True
        ):
            items = np.concatenate([np.flatnonzero(units == names[place]) for place in drawn])
            expected = np.polyfit(scores[items], labels[items], 1)
            assert (slope, intercept) == pytest.approx(tuple(expected))


def test_the_interval_of_the_slope_is_that_of_the_textbook_for_even_errors(sample):
    scores, labels, _groups = sample
    classic = stats.linregress(labels, scores)  # errors of the scores, not of the labels
    (slope, _), (mean, _) = line_estimates([labels[None], np.stack([labels, labels / 3])], scores)
    assert slope.value == pytest.approx(classic.slope)
    assert mean.value == pytest.approx(2 * classic.slope)  # over seeds
    half = stats.t.ppf(0.975, 58) * classic.stderr
    assert (slope.low, slope.high) == pytest.approx((classic.slope - half, classic.slope + half), abs=0.15 * half)
    assert line_estimates([np.full((1, 60), 0.5)], labels)[0].slope.reason == "all 60 scores are equal (0.5)"
    fourfold = [np.repeat(values, 4) for values in (scores, labels)]
    of_groups = line_estimates([fourfold[0][None]], fourfold[1], groups=[f"{place // 4}" for place in range(240)])[
        0
    ].slope
    of_items = line_estimates([fourfold[0][None]], fourfold[1])[0].slope
    assert (of_groups.high - of_groups.low) / (of_items.high - of_items.low) == pytest.approx(2, rel=0.1)


def test_an_isotonic_curve_pools_what_falls_and_takes_equal_scores_as_one():
    curve = fit_isotonic(np.array([3.0, 1.0, 1.0, 2.0, 4.0, 5.0]), np.array([1.0, 2.0, 0.0, 4.0, 7.0, 7.0]))
    assert vars(curve) == {"scores": (1.0, 2.0, 3.0, 4.0, 5.0), "values": (1.0, 2.5, 2.5, 7.0, 7.0)}
    assert curve.at(np.array([-9.0, 1.5, 2.2, 3.5, 9.0])) == pytest.approx([1.0, 1.75, 2.5, 4.75, 7.0])


def test_the_half_width_counts_one_unit_more_as_outside_and_groups_alike():
    errors = np.arange(1.0, 20.0)
    for level, rank in ((0.9, 18), (0.5, 10), (0.95, 19)):
        assert half_width(errors, np.arange(19), level=level) == rank == math.ceil(20 * level)
    assert half_width(errors, np.arange(19), level=0.96) == math.inf
    # Groups of 1, 1 and 4 items weigh 1/4 each, and so does the one that is not there.
    unit, errors = np.array([0, 1, 2, 2, 2, 2]), np.array([5.0, 6.0, 1.0, 2.0, 3.0, 4.0])
    assert [half_width(errors, unit, level=level) for level in (0.2, 0.5, 0.75, 0.76)] == [4.0, 5.0, 6.0, math.inf]


@pytest.mark.parametrize("method", ["linear", "isotonic"])
def test_scores_get_the_size_of_the_labels_within_the_scale(sample, method):
    scores, labels, _ = sample
    found = recalibrate(scores, labels, span=(0, 1), method=method)
    low, high = found.recalibration.interval(np.array([-5.0, 0.5, 5.0]))
    middle = found.recalibration.calibrated(np.array([-5.0, 0.5, 5.0]))
    assert low[0] == 0
    assert high[2] == 1
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert high[1] - middle[1] == pytest.approx(found.recalibration.half_width)
    assert found.rmse_after < found.rmse_before == pytest.approx(math.sqrt(np.mean((scores - labels) ** 2)))
    assert found.coverage == pytest.approx(np.mean(found.coverage_of_thirds))


def test_what_cannot_be_calibrated_says_why(sample):
    scores, labels, groups = sample
    for given, told in (
        ((np.full(60, 0.5), labels), "all 60 scores are equal"),
        ((scores, np.full(60, 0.5)), "all 60 labels are equal"),
        ((-scores, labels), r"do not rise with the scores \(slope -"),
        ((scores[:9], labels[:9]), r"9 labelled items are too few for 90 % intervals; at least 10 items are needed"),
    ):
        with pytest.raises(AnnotationError, match=told):
            recalibrate(*given, span=(0, 1))
    with pytest.raises(AnnotationError, match="isotonic curve is constant"):
        recalibrate(np.arange(60.0), -np.arange(60.0), span=(-60, 0), method="isotonic")
    with pytest.raises(AnnotationError, match=r"60 labelled items in 15 groups are too few for 95 % intervals; at le"):
        recalibrate(scores, labels, span=(0, 1), groups=groups, level=0.95)
    for level in (0.5, 0.9, 0.95, 0.99):
        fewest = fewest_units(level)
        result = recalibrate(*np.tile(np.linspace(0, 1, fewest), (2, 1)), span=(0, 1), level=level)
        assert math.isfinite(result.recalibration.half_width)


@pytest.mark.parametrize(
    ("kind", "method"), [("even", "isotonic"), ("uneven", "linear"), ("groups of 1 to 9", "linear")]
)
def test_intervals_hold_what_they_state_of_new_items_and_what_is_measured_agrees(kind, method):
    inside, measured, in_range, slope = held(kind, 60, method=method, repeats=30, seed=1)
    assert 0.88 < inside < 0.94
    assert abs(inside - measured) < 0.025
    assert in_range > 0.8
    assert slope > 0.8


def test_a_checkpoint_that_was_chosen_on_the_items_makes_intervals_too_narrow():
    assert chosen(30, repeats=30) < 0.87


def test_the_printed_range_is_that_of_order_statistics():
    shares = np.sort(np.random.default_rng(0).uniform(size=(4000, 60)))[:, math.ceil(61 * 0.9) - 1]
    assert coverage_range(60, level=0.9) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), abs=0.01)
