import math

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import METRICS, challenge, krocc, plcc, rmse, srocc
from evqa.metrics.correlation import midranks

CORRELATIONS = [srocc, plcc, krocc, challenge]


@pytest.fixture(params=["continuous", "ties", "negative", "offset"])
def vectors(request):
    rng = np.random.default_rng(3)
    labels = rng.uniform(size=120)
    noisy = labels + rng.normal(scale=0.3, size=120)
    return {
        "continuous": (noisy, labels),
        "ties": (np.round(noisy * 5), np.round(labels * 4)),
        "negative": (-40 * noisy, labels),
        "offset": (1e6 + noisy, 100 * labels),
    }[request.param]


def test_correlations_agree_with_scipy(vectors):
    scores, labels = vectors
    assert srocc(scores, labels).value == pytest.approx(stats.spearmanr(scores, labels).statistic, abs=1e-12)
    assert plcc(scores, labels).value == pytest.approx(stats.pearsonr(scores, labels).statistic, abs=1e-9)
    assert krocc(scores, labels).value == pytest.approx(stats.kendalltau(scores, labels).statistic, abs=1e-12)


def test_challenge_score_is_six_parts_of_srocc_and_four_of_raw_plcc(vectors):
    expected = 0.6 * srocc(*vectors).value + 0.4 * plcc(*vectors).value
    assert challenge(*vectors).value == pytest.approx(expected, abs=1e-15)


def test_a_worked_example_by_hand():
    scores, labels = [1.0, 2.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0]
    assert srocc(scores, labels).value == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert krocc(scores, labels).value == pytest.approx((5 - 1) / 6)
    assert rmse(scores, labels).value == pytest.approx(math.sqrt(0.5))


def test_three_items_are_enough_and_ties_get_the_mean_of_their_ranks():
    assert [metric([1, 2, 3], [3, 2, 1]).value for metric in CORRELATIONS] == pytest.approx([-1] * 4)
    assert midranks(np.array([5.0, 1.0, 5.0, 2.0, 5.0, 1.0])).tolist() == [5.0, 1.5, 5.0, 3.0, 5.0, 1.5]
    assert midranks(np.array([3.0, 1.0, 2.0])).tolist() == [3.0, 1.0, 2.0]


def test_rank_correlations_ignore_increasing_maps_and_plcc_only_straight_ones():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(2, 60))
    for metric in (srocc, krocc):
        assert metric(np.exp(3 * scores), labels).value == pytest.approx(metric(scores, labels).value, abs=1e-12)
    assert plcc(7 * scores - 2, labels).value == pytest.approx(plcc(scores, labels).value, abs=1e-12)
    assert plcc(np.exp(3 * scores), labels).value != pytest.approx(plcc(scores, labels).value, abs=1e-3)


@pytest.mark.parametrize("metric", CORRELATIONS)
@pytest.mark.parametrize(
    ("scores", "labels", "reason"),
    [
        ([0.5] * 4, [0.1, 0.2, 0.3, 0.4], "all 4 scores are equal (0.5)"),
        ([0.1 + 0.2, 0.3, 0.3, 0.3], [0.1, 0.2, 0.3, 0.4], "all 4 scores are equal (0.3)"),
        ([0.1, 0.2, 0.3], [2.0, 2.0, 2.0], "all 3 labels are equal (2)"),
        ([0.0] * 3, [0.1, 0.2, 0.3], "all 3 scores are equal (0)"),
        ([-1.0, -1.0 - 1e-15, -1.0], [0.1, 0.2, 0.3], "all 3 scores are equal (-1)"),
        ([0.1, 0.2], [0.1, 0.2], "needs at least 3 items, got 2"),
        ([0.1, 0.2, 0.3], [0.1, 0.2, math.nan], "1 of 3 labels are not finite"),
        ([], [], "needs at least 3 items, got 0"),
        ([0.1, math.nan, math.inf], [0.1, 0.2, 0.3], "2 of 3 scores are not finite"),
    ],
)
def test_what_does_not_exist_is_nan_and_says_why(metric, scores, labels, reason):
    measure = metric(scores, labels)
    assert math.isnan(measure.value)
    assert measure.reason == reason


def test_rmse_exists_for_constants_and_for_one_item():
    assert rmse([0.5] * 3, [0.5, 0.5, 2.0]).value == pytest.approx(math.sqrt(0.75))
    assert rmse([1.0], [3.0]).value == 2.0
    assert rmse([0.1, math.inf], [0.1, 0.2]).reason == "1 of 2 scores are not finite"
    assert rmse([], []).reason == "there are no items"


@pytest.mark.parametrize("metric", [*CORRELATIONS, rmse])
@pytest.mark.parametrize("shapes", [((2,), (3,)), ((2, 3), (2, 3)), ((), ())], ids=str)
def test_vectors_of_different_shape_are_a_programming_mistake(metric, shapes):
    with pytest.raises(ValueError, match="Scores of shape") as error:
        metric(*map(np.zeros, shapes))
    expected = f"Scores of shape {shapes[0]}, labels of shape {shapes[1]}: two vectors of one length expected."
    assert str(error.value) == expected


def test_a_measure_is_a_number():
    assert float(rmse([1.0], [3.0])) == 2.0
    assert rmse([1.0], [3.0]).reason is None


def test_a_perfect_correlation_is_one_and_no_rounding_more():
    for seed in range(60):
        scores = np.random.default_rng(seed).normal(size=7)
        for factor in (3, -3):
            assert abs(plcc(scores, factor * scores + 1).value) <= 1.0
            assert plcc(scores, factor * scores + 1).value == pytest.approx(factor / 3)


def test_huge_and_tiny_numbers_neither_overflow_nor_vanish():
    labels = np.array([1.0, 2.0, 3.0, 5.0])
    for size in (1e300, 1e-300):
        assert plcc(labels * size, labels).value == pytest.approx(1.0)


def test_metrics_are_listed_by_the_names_that_files_use():
    assert list(METRICS) == ["srocc", "plcc", "krocc", "rmse", "challenge"]
