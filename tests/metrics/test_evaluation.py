import json
import math

import numpy as np
import pytest

from evqa.metrics import METRICS, Estimate, bootstrap, estimate_interval, evaluate, fit_four, fit_increasing
from evqa.types import Failure


def sample(n=60):
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=n)
    return labels + rng.normal(scale=0.2, size=n), labels


def test_every_metric_has_a_value_inside_its_interval():
    evaluation = evaluate(*sample())
    assert list(evaluation.metrics) == ["srocc", "plcc", "krocc", "rmse", "challenge"]
    for estimate in evaluation.metrics.values():
        assert estimate.low < estimate.value < estimate.high
        assert estimate.reason is None


def test_json_has_the_counts_failures_and_intervals():
    failures = (Failure(id="b", reason="no picture"), Failure(id="c", reason="bad row", row=3))
    plain = json.loads(json.dumps(evaluate(*sample(), failures=failures).to_json(), allow_nan=False))
    assert (plain["n"], plain["num_failed"], plain["num_unlabelled"]) == (60, 2, 0)
    assert plain["failures"] == [{"id": "b", "reason": "no picture"}, {"id": "c", "reason": "bad row", "row": 3}]
    assert set(plain["metrics"]["srocc"]) == {"value", "low", "high"}
    assert plain["extras"]["plcc_fitted"]["reason"] == "no interval: the curve is not fitted again in each resample"
    assert plain["interval"] == {
        "method": "t interval with the bootstrap's standard error; correlations on Fisher's z scale, RMSE on the "
        "log scale",
        "resampled": "items",
        "level": 0.95,
        "num_resamples": 2000,
        "seed": 0,
    }
    assert list(plain) == [
        "n",
        "num_groups",
        "num_failed",
        "num_unlabelled",
        "failures",
        "metrics",
        "extras",
        "interval",
    ]
    assert plain["num_groups"] is None


def test_intervals_and_extras_are_those_of_their_functions():
    scores, labels = sample()
    evaluation = evaluate(scores, labels, num_resamples=50, seed=3)
    draws = bootstrap(scores, labels, num_resamples=50, seed=3)
    for name, estimate in evaluation.metrics.items():
        value = METRICS[name](scores, labels).value
        ends = estimate_interval(name, value, draws[name], num_units=60)
        assert estimate == Estimate(value=value, low=ends.low, high=ends.high)
    for name, fit in {"fitted": fit_increasing(scores, labels), "fitted_4": fit_four(scores, labels)}.items():
        values = [evaluation.extras[f"{metric}_{name}"].value for metric in ("plcc", "rmse")]
        assert values == [fit.plcc.value, fit.rmse.value]
    assert all(math.isnan(extra.low) and math.isnan(extra.high) for extra in evaluation.extras.values())
    assert set(evaluation.extras) == {"plcc_fitted", "rmse_fitted", "plcc_fitted_4", "rmse_fitted_4"}
    plain = evaluation.to_json()
    assert (plain["interval"]["num_resamples"], plain["interval"]["seed"], evaluation.level) == (50, 3, 0.95)


def test_a_metric_that_resamples_often_lack_has_a_value_and_no_interval():
    evaluation = evaluate([*range(9), 9.0], [0.0] * 9 + [1.0])
    estimate = evaluation.metrics["srocc"]
    assert estimate.value == METRICS["srocc"]([*range(9), 9.0], [0.0] * 9 + [1.0]).value
    assert math.isnan(estimate.low)
    assert estimate.reason.endswith("of 2000 resamples")
    assert evaluation.to_json()["metrics"]["srocc"] == {
        "value": estimate.value,
        "low": None,
        "high": None,
        "reason": estimate.reason,
    }


def test_groups_are_counted_and_drawn_as_a_whole_and_items_without_a_label_belong_to_none():
    scores, labels = sample()
    groups = [*(f"creator {place // 4}" for place in range(56)), *[None] * 4]
    evaluation = evaluate(np.append(scores, 0.5), np.append(labels, math.nan), groups=[*groups, "unlabelled"])
    assert (evaluation.n, evaluation.num_groups) == (60, 14 + 4)
    draws = bootstrap(scores, labels, groups=groups)["srocc"]
    ends = estimate_interval("srocc", evaluation.metrics["srocc"].value, draws, num_units=18)
    assert (evaluation.metrics["srocc"].low, evaluation.metrics["srocc"].high) == (ends.low, ends.high)
    assert evaluation.to_json()["interval"]["resampled"] == "groups"
    assert evaluate(scores, labels, groups=[None] * 60) == evaluate(scores, labels)


def test_items_without_a_label_are_counted_and_left_out():
    scores, labels = sample()
    with_gaps = np.append(labels, [math.nan, math.nan])
    evaluation = evaluate(np.append(scores, [5.0, -5.0]), with_gaps)
    assert (evaluation.n, evaluation.num_unlabelled) == (60, 2)
    assert evaluation.metrics == evaluate(scores, labels).metrics


def test_a_score_that_is_not_finite_is_never_dropped_in_silence():
    scores, labels = sample()
    scores[7] = math.nan
    evaluation = evaluate(scores, labels)
    assert evaluation.metrics["srocc"].reason == "1 of 60 scores are not finite"
    assert evaluation.to_json()["metrics"]["rmse"]["value"] is None
    assert evaluation.to_json()["extras"]["plcc_fitted"]["reason"] == "1 of 60 scores are not finite"


def test_constant_predictions_and_no_labels_at_all_have_reasons():
    assert evaluate([0.5] * 5, range(5)).metrics["challenge"].reason == "all 5 scores are equal (0.5)"
    nothing = evaluate([0.5] * 5, [math.nan] * 5)
    assert nothing.n == 0
    assert nothing.metrics["rmse"].reason == "there are no items"
    json.dumps(nothing.to_json(), allow_nan=False)


def test_no_resamples_give_values_without_intervals():
    evaluation = evaluate(*sample(), num_resamples=0, fitted=False)
    assert evaluation.metrics["srocc"].value == pytest.approx(evaluate(*sample()).metrics["srocc"].value)
    assert evaluation.metrics["srocc"].reason == "no resamples were drawn"
    assert (evaluation.extras, evaluation.num_resamples) == ({}, 0)
