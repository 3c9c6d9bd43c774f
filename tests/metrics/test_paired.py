import math

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import METRICS, bootstrap, holm, paired_difference, smallest_detectable
from evqa.metrics.paired import difference_of_draws, two_sided_p


def pair(n, *, noise=(0.3, 0.3), shared=0.0, seed=0):
    """Two predictions of the same labels whose errors are partly the same."""
    rng = np.random.default_rng(seed)
    labels, common = rng.uniform(size=n), rng.normal(size=n) * shared
    return *(labels + common + rng.normal(size=n) * size for size in noise), labels


def test_equal_predictions_do_not_differ():
    scores, _, labels = pair(100)
    difference = paired_difference(scores, scores, labels)
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_a_better_prediction_is_found_with_its_interval_and_p():
    better, worse, labels = pair(200, noise=(0.1, 0.4))
    difference = paired_difference(better, worse, labels)
    assert difference.value > difference.low > 0
    assert 0 < difference.p < 1e-6
    assert difference.reason is None


def test_swapping_the_two_mirrors_the_result():
    first, second, labels = pair(80)
    one, other = paired_difference(first, second, labels), paired_difference(second, first, labels)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.p == other.p


def test_pairing_sees_what_two_separate_intervals_cannot():
    first, second, labels = pair(300, noise=(0.02, 0.12), shared=0.3)
    paired = paired_difference(first, second, labels)
    unpaired_error = math.hypot(
        *(paired_difference(scores, labels, labels).standard_error for scores in (first, second))
    )
    assert paired.standard_error < unpaired_error / 3
    assert paired.p < 0.05


def test_equally_good_predictions_are_rarely_called_different():
    false_findings = sum(
        paired_difference(*pair(120, seed=seed), metric="plcc", num_resamples=400).p < 0.05 for seed in range(200)
    )
    assert false_findings <= 20  # 10 expected; 20 has a chance below 0.2 %


def test_p_below_five_percent_means_that_the_interval_excludes_zero():
    for seed in range(40):
        difference = paired_difference(*pair(60, noise=(0.2, 0.3), seed=seed), num_resamples=500)
        if abs(difference.p - 0.05) > 0.01:
            assert (difference.p < 0.05) == (difference.low > 0 or difference.high < 0)


@pytest.mark.parametrize(
    ("draws", "p"),
    [
        ([-1.0, 1.0, 2.0, 3.0], 2 * 2 / 5),
        ([1.0, 2.0, 3.0, 4.0], 2 * 1 / 5),
        ([-1.0, -2.0, -3.0, -4.0], 2 * 1 / 5),
        ([0.0, 1.0, 2.0, 3.0], 2 * 2 / 5),
        ([0.0, -1.0, -2.0, -3.0], 2 * 2 / 5),
        ([-1.0, 1.0], 1.0),
        ([0.0, 0.0], 1.0),
        ([math.nan, 1.0, 2.0, 3.0], 2 * 1 / 4),
    ],
)
def test_p_by_hand(draws, p):
    assert two_sided_p(np.array(draws)) == pytest.approx(p)


@pytest.mark.parametrize("freedom", [math.inf, 4])
def test_the_tail_takes_over_where_it_agrees_with_the_count_of_draws(freedom):
    draws = stats.t.ppf((np.arange(2000) + 0.5) / 2000, freedom)
    error = 1.0  # the scale of t
    for beyond in (11, 10, 9, 3, 0):
        shifted = draws - (draws[beyond] + draws[beyond - 1]) / 2 if beyond else draws + 8.0
        exact = 2 * stats.t.sf(np.median(shifted), freedom)
        found = two_sided_p(shifted, error=error, freedom=freedom)
        assert found == pytest.approx(two_sided_p(-shifted, error=error, freedom=freedom))
        assert found == pytest.approx(2 * (beyond + 1) / 2001 if beyond >= 10 else exact, rel=0.2)
    at_border = draws - draws[9]
    assert two_sided_p(at_border, error=error, freedom=freedom) == pytest.approx(2 * 11 / 2001)
    assert two_sided_p(at_border + 1e-9, error=error, freedom=freedom) == pytest.approx(2 * 11 / 2001, rel=1e-6)


def test_a_true_difference_is_found_among_a_thousand_comparisons():
    better, worse, labels = pair(300, noise=(0.1, 0.4))
    others = [paired_difference(*pair(60, seed=seed), num_resamples=200).p for seed in range(20)] * 50
    assert holm([paired_difference(better, worse, labels).p, *others])[0] < 0.001


def test_a_difference_without_noise_keeps_the_floor_of_its_draws():
    assert two_sided_p(np.full(2000, 0.3)) == pytest.approx(2 / 2001)


def test_a_difference_of_draws_by_hand():
    draws = np.arange(1.0, 102.0)
    difference = difference_of_draws(50.0, draws)
    assert (difference.value, difference.low, difference.high) == pytest.approx((50.0, 3.5, 98.5))
    assert difference.standard_error == pytest.approx(np.std(draws, ddof=1))
    assert difference.detectable == smallest_detectable(difference.standard_error)
    assert difference.p == pytest.approx(2 / 102)
    half = difference_of_draws(50.0, draws, level=0.5)
    assert (half.low, half.high) == pytest.approx((26.0, 76.0))
    nothing = difference_of_draws(50.0, draws, reason="no labels")
    assert (nothing.value, nothing.reason) == (50.0, "no labels")
    assert all(math.isnan(x) for x in (nothing.p, nothing.standard_error, nothing.detectable))
    assert difference_of_draws(50.0, np.empty(0)).reason == "no resamples were drawn"
    assert difference_of_draws(50.0, np.array([math.nan, *draws])).standard_error == pytest.approx(
        np.std(draws, ddof=1)
    )


@pytest.mark.parametrize("metric", ["srocc", "plcc", "krocc", "rmse", "challenge"])
def test_a_paired_difference_is_that_of_values_and_of_draws(metric):
    first, second, labels = pair(40)
    found = paired_difference(first, second, labels, metric=metric, num_resamples=50, seed=3, level=0.8)
    draws = [bootstrap(scores, labels, num_resamples=50, seed=3)[metric] for scores in (first, second)]
    value = METRICS[metric](first, labels).value - METRICS[metric](second, labels).value
    assert found == difference_of_draws(value, draws[0] - draws[1], level=0.8)


def test_a_paired_difference_is_by_default_of_challenge_scores_over_2000_resamples():
    vectors = pair(20)
    spelled = paired_difference(*vectors, metric="challenge", num_resamples=2000, seed=0, level=0.95)
    assert paired_difference(*vectors) == spelled


def test_holm_is_the_textbook_procedure():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_tests_that_could_not_be_made():
    adjusted = holm([math.nan, 0.02, 0.03])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.04, 0.04])


def test_smallest_detectable_difference_is_2_8_standard_errors():
    assert smallest_detectable(1.0, alpha=0.01, power=0.9) == pytest.approx(2.575829 + 1.281552, abs=1e-5)
    assert smallest_detectable(0.01) == pytest.approx(0.0280159, abs=1e-6)


def test_a_difference_of_that_size_is_found_four_times_in_five():
    rng = np.random.default_rng(0)
    shifts = smallest_detectable(1.0) + rng.normal(size=500)
    found = np.mean([two_sided_p(shift + rng.normal(size=400)) < 0.05 for shift in shifts])
    assert 0.75 < found < 0.85


@pytest.mark.parametrize(("error", "shift", "freedom", "family"), [(1, 1, 2, 1), (0.3, 1, 4, 2), (1, 0.5, 22, 10)])
def test_the_test_with_the_noise_of_training_has_the_power_that_is_stated(error, shift, freedom, family):
    rng = np.random.default_rng(0)
    shifts = shift * np.sqrt(rng.chisquare(freedom, 4000) / freedom)
    stated = np.mean([smallest_detectable(error, shift=s, freedom=freedom, family=family) for s in shifts[:400]])
    values = stated + math.hypot(error, shift) * rng.normal(size=len(shifts))
    limits = (stats.norm.isf(0.025 / family) * error, stats.t.isf(0.025 / family, freedom) * shifts)
    assert 0.75 < np.mean(values > np.hypot(*limits)) < 0.85


def test_what_is_detectable_grows_with_the_family_and_falls_with_the_seeds():
    alone, of_ten = smallest_detectable(1.0), smallest_detectable(1.0, family=10)
    assert of_ten == pytest.approx(stats.norm.isf(0.0025) + stats.norm.ppf(0.8))
    few, many = (smallest_detectable(1.0, shift=1.0, freedom=freedom) for freedom in (2, 2000))
    assert alone < many < few
    assert many == pytest.approx(2.8016 * math.sqrt(2), rel=0.01)
    assert smallest_detectable(1.0, shift=0.0, freedom=4) == alone
    assert math.isnan(smallest_detectable(math.nan, shift=1.0, freedom=4))


def test_what_cannot_be_compared_says_why():
    difference = paired_difference([0.5] * 10, np.arange(10), np.arange(10))
    assert math.isnan(difference.value)
    assert math.isnan(difference.p)
    assert difference.reason == "all 10 scores are equal (0.5)"
    other = paired_difference(np.arange(10), [0.25] * 10, np.arange(10))
    assert other.reason == "all 10 scores are equal (0.25)"
