"""Intervals of single metrics: by hand, at perfect correlation, and how often they hold the true value."""

import math

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import METRICS, bootstrap, estimate_interval, evaluate, paired_difference

NAMES = ("srocc", "plcc", "krocc", "challenge")


def test_a_correlation_is_symmetric_on_fishers_scale_and_an_error_on_the_log_scale():
    z = np.linspace(-0.4, 0.6, 41)
    error = np.std(z, ddof=1) * math.sqrt(20 / 19) * stats.t.ppf(0.975, 19)
    ends = estimate_interval("plcc", math.tanh(0.1), np.tanh(z), num_units=20)
    assert (ends.low, ends.high, ends.reason) == (
        pytest.approx(math.tanh(0.1 - error)),
        pytest.approx(math.tanh(0.1 + error)),
        None,
    )
    ends = estimate_interval("rmse", 2.0, np.exp(z), num_units=20)
    assert (ends.low, ends.high) == (pytest.approx(2 * math.exp(-error)), pytest.approx(2 * math.exp(error)))
    half = estimate_interval("rmse", 2.0, np.exp(z), num_units=20, level=0.5)
    assert half.high == pytest.approx(2 * math.exp(error * stats.t.ppf(0.75, 19) / stats.t.ppf(0.975, 19)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_correlation_of_few_items_leaves_room_and_of_more_items_less(name, sign):
    widths = []
    for n in (4, 6, 10, 30, 100):
        labels = np.arange(float(n))
        estimate = evaluate(sign * labels, labels).metrics[name]
        assert estimate.value == pytest.approx(sign)
        inner, outer = sorted((sign * estimate.low, sign * estimate.high))
        assert outer == 1
        widths.append(1 - inner)
    assert widths[0] > 1  # four items in order tell next to nothing
    assert widths == sorted(widths, reverse=True)
    assert 0 < widths[3] < 0.01


def test_what_cannot_be_resampled_has_a_reason_and_no_interval():
    assert evaluate([1.0], [2.0]).metrics["rmse"].reason == "a single item or group has no spread"
    labels = np.arange(12.0)
    perfect = evaluate(labels, labels).metrics["rmse"]
    assert (perfect.value, perfect.reason) == (0, "the error is 0 in 2000 of 2000 resamples")
    assert math.isnan(perfect.low)
    one = evaluate(labels, labels, groups=["a"] * 12).metrics["srocc"]
    assert (one.value, one.reason) == (pytest.approx(1), "a single item or group has no spread")
    two = evaluate(labels, labels, groups=["a"] * 6 + ["b"] * 6).metrics["srocc"]
    assert two.low < 0 < two.high == 1


def drawn(generator, n, *, truth):
    labels = generator.normal(size=n)
    return truth * labels + math.sqrt(1 - truth**2) * generator.normal(size=n), labels


def test_of_thirty_items_95_of_100_intervals_of_every_metric_hold_the_true_value():
    rho, generator, held = 0.8, np.random.default_rng(0), dict.fromkeys(METRICS, 0)
    rank = 6 / math.pi * math.asin(rho / 2)
    truth = {"srocc": rank, "plcc": rho, "krocc": 2 / math.pi * math.asin(rho), "rmse": math.sqrt(2 - 2 * rho)}
    truth["challenge"] = 0.6 * rank + 0.4 * rho
    for _ in range(400):
        estimates = evaluate(*drawn(generator, 30, truth=rho), num_resamples=300, fitted=False).metrics
        for name, value in truth.items():
            held[name] += estimates[name].low <= value <= estimates[name].high
    assert 372 <= held["plcc"] <= 391  # percentile intervals: 91 %
    assert 368 <= held["rmse"] <= 391
    assert all(count >= 372 for name, count in held.items() if name != "rmse"), held  # of ranks somewhat too wide


def test_of_thirty_items_paired_differences_of_equal_predictions_hold_zero():
    generator, held = np.random.default_rng(1), 0
    for _ in range(400):
        one, labels = drawn(generator, 30, truth=0.8)
        other = 0.8 * labels + 0.6 * generator.normal(size=30)
        difference = paired_difference(one, other, labels, num_resamples=300)
        held += difference.low <= 0 <= difference.high
    assert 372 <= held <= 394, held


def test_intervals_over_groups_hold_the_true_value_where_those_over_items_do_not():
    generator, held = np.random.default_rng(2), {"items": 0, "groups": 0}
    groups = [f"video {place // 4}" for place in range(160)]
    for _ in range(200):
        scores, labels = (np.repeat(values, 4) for values in drawn(generator, 40, truth=0.6))
        value = METRICS["plcc"](scores, labels).value
        for kind, known, num_units in (("items", None, 160), ("groups", groups, 40)):
            draws = bootstrap(scores, labels, metrics=("plcc",), num_resamples=300, groups=known)["plcc"]
            ends = estimate_interval("plcc", value, draws, num_units=num_units)
            held[kind] += ends.low <= 0.6 <= ends.high
    assert held["items"] < 150
    assert held["groups"] >= 182
