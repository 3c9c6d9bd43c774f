import math

import numpy as np
import pytest

from evqa.metrics import fit_increasing, fit_original
from evqa.metrics.logistic import logistic


def cases(golden_numbers):
    for name, case in golden_numbers["metrics"].items():
        yield name, np.array(case["pred"]), np.array(case["target"]), case


def test_curve_is_the_originals(golden_numbers):
    curve = golden_numbers["logistic_func"]
    assert logistic(np.array(curve["x"]), *curve["beta"]) == pytest.approx(np.array(curve["y"]), abs=1e-12)


def test_original_fit_gives_the_originals_numbers(golden_numbers):
    # With the SciPy that made the references (1.13.1) all parameters agree to the last digit. SciPy 1.15 rewrote the
    # optimiser: on ill-conditioned problems it ends elsewhere in the same flat valley, which moves the RMSE by 2e-6.
    for name, scores, labels, case in cases(golden_numbers):
        fit, expected = fit_original(scores, labels), case["float64"]
        if "raises" in expected:
            assert math.isnan(fit.plcc.value), name
            continue
        assert fit.rmse.value == pytest.approx(expected["RMSE"], abs=3e-6), name
        if expected["PLCC"] is None:
            assert fit.plcc.reason == "all 10 scores are equal (42)"
        else:
            assert fit.plcc.value == pytest.approx(expected["PLCC"], abs=1e-6), name


def test_increasing_fit_agrees_wherever_the_original_is_stable(golden_numbers):
    for name, scores, labels, case in cases(golden_numbers):
        if case["logistic_fit_is_stable"]:
            assert fit_increasing(scores, labels).plcc.value == pytest.approx(case["float64"]["PLCC"], abs=1e-3), name


def test_increasing_fit_does_not_move_under_tiny_changes(golden_numbers):
    rng = np.random.default_rng(0)
    for name, scores, labels, case in cases(golden_numbers):
        if case["logistic_fit_is_stable"] is None or name == "negative_40":
            continue
        near = scores * (1 + 1e-6 * rng.normal(size=len(scores)))
        assert fit_increasing(near, labels).plcc.value == pytest.approx(
            fit_increasing(scores, labels).plcc.value, abs=1e-5
        ), name


def test_increasing_fit_never_decreases_and_is_at_least_as_good_as_a_line():
    rng = np.random.default_rng(1)
    for _ in range(10):
        labels = rng.uniform(size=50)
        scores = labels**3 + rng.normal(scale=rng.uniform(0.01, 1.0), size=50)
        fit = fit_increasing(scores, labels)
        curve = logistic(np.sort(scores), *fit.parameters)
        assert np.diff(curve).min() >= -1e-9
        assert fit.plcc.value >= np.corrcoef(scores, labels)[0, 1] - 1e-9


def test_increasing_fit_ignores_the_scale_of_scores_and_labels():
    rng = np.random.default_rng(2)
    labels = rng.uniform(size=80)
    scores = np.tanh(3 * (labels - 0.5)) + rng.normal(scale=0.2, size=80)
    plain, scaled = fit_increasing(scores, labels), fit_increasing(1e5 + 1e3 * scores, 100 * labels)
    assert scaled.plcc.value == pytest.approx(plain.plcc.value, abs=1e-7)
    assert scaled.rmse.value == pytest.approx(100 * plain.rmse.value, rel=1e-6)


def test_anti_correlated_scores_are_not_made_good():
    labels = np.linspace(0, 1, 40)
    fit = fit_increasing(1 - labels, labels)
    assert fit.plcc.reason == "no increasing curve is better than a constant"


def test_too_few_items_and_constants_have_reasons():
    assert fit_increasing([1, 2, 3, 4], [1, 2, 3, 4]).plcc.reason == (
        "a curve of 5 parameters needs at least as many items, got 4"
    )
    assert fit_increasing([1.0] * 6, range(6)).plcc.reason == "all 6 scores are equal (1)"
