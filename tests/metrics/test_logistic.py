import math

import numpy as np
import pytest
from scipy import optimize

from evqa.metrics import fit_four, fit_increasing, fit_original
from evqa.metrics.logistic import _non_negative, logistic


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


def test_the_curve_by_hand():
    x = np.array([-1.0, 0.0, 1.0])
    steep = 1 / (1 + math.exp(-2.0)) - 0.5
    assert logistic(x, 4.0, 2.0, 0.0, 3.0, 5.0) == pytest.approx([-4 * steep - 3 + 5, 5, 4 * steep + 3 + 5])
    assert logistic(x + 7, 4.0, 2.0, 7.0, 0.0, 5.0) == pytest.approx([-4 * steep + 5, 5, 4 * steep + 5])


def test_a_curve_of_the_family_is_found_again():
    scores = np.linspace(-2, 2, 41)
    labels = logistic(scores, 3.0, 2.0, 0.4, 0.2, 1.0)
    found = fit_increasing(scores, labels)
    assert logistic(scores, *found.parameters) == pytest.approx(labels, abs=1e-3)
    assert found.plcc.value == pytest.approx(1, abs=1e-6)
    assert found.rmse.value == pytest.approx(0, abs=1e-3)
    assert all(type(parameter) is float for parameter in found.parameters)
    assert len(found.parameters) == 5


@pytest.mark.parametrize("fit", [fit_increasing, fit_original])
@pytest.mark.parametrize(
    ("scores", "labels", "reason"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], "a curve of 5 parameters needs at least as many items, got 4"),
        ([], [], "there are no items"),
        ([1, 2, 3, 4, math.inf], [1, 2, 3, 4, 5], "1 of 5 scores are not finite"),
    ],
)
def test_without_a_curve_there_are_no_numbers_but_a_reason(fit, scores, labels, reason):
    found = fit(scores, labels)
    assert (found.plcc.reason, found.rmse.reason, found.parameters) == (reason, reason, ())
    assert math.isnan(found.plcc.value)
    assert math.isnan(found.rmse.value)


def test_five_items_are_enough_and_constant_labels_have_an_error_of_zero():
    assert fit_increasing([1, 2, 3, 4, 5], [1, 2, 3, 5, 4]).plcc.reason is None
    flat = fit_increasing([1, 2, 3, 4, 5], [2.0] * 5)
    assert flat.plcc.reason == "all 5 labels are equal (2)"
    assert flat.rmse.value == pytest.approx(0)


def test_the_original_fit_starts_where_the_original_does(monkeypatch):
    asked = {}

    def curve_fit(curve, scores, labels, *, p0, maxfev):
        asked.update(p0=p0, maxfev=maxfev, value=curve(np.array([0.0, 2.0]), 1.0, 1.0, 0.0, 2.0, 3.0))
        return np.array([1.0, 2.0, 3.0, 4.0, 5.0]), None

    monkeypatch.setattr("scipy.optimize.curve_fit", curve_fit)
    found = fit_original([1.0, 2.0, 3.0, 4.0, 10.0], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert asked["p0"] == (10.0, 0.0, 4.0, 0.1, 0.1)
    assert asked["maxfev"] == 100_000_000
    assert asked["value"] == pytest.approx([0.5 - 1 / 2 + 3, 0.5 - 1 / (1 + math.exp(2)) + 4 + 3])
    assert found.parameters == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_two_columns_of_least_squares_stay_non_negative_as_scipys_do():
    rng = np.random.default_rng(0)
    for _ in range(200):
        columns, target = rng.normal(size=(6, 2)), rng.normal(size=6)
        expected, _ = optimize.nnls(columns, target)
        assert _non_negative(columns.T @ columns, columns.T @ target) == pytest.approx(tuple(expected), abs=1e-9)
    assert _non_negative(np.zeros((2, 2)), np.zeros(2)) == (0.0, 0.0)


def test_the_best_increasing_curve_is_no_worse_than_any_on_a_fine_grid():
    rng = np.random.default_rng(3)
    scores = np.sort(rng.normal(size=30))
    labels = np.tanh(2 * scores) + 0.2 * rng.normal(size=30)
    error = np.sqrt(np.mean((logistic(scores, *fit_increasing(scores, labels).parameters) - labels) ** 2))
    x = (scores - scores.mean()) / scores.std()
    for slope in np.geomspace(0.5, 16, 12):
        for place in np.linspace(-3, 3, 13):
            bend = 1 / (1 + np.exp(-slope * (x - place)))
            weights, _ = optimize.nnls(np.stack([bend, x + 10, np.ones(30), -np.ones(30)], axis=1), labels)
            fitted = np.stack([bend, x + 10, np.ones(30), -np.ones(30)], axis=1) @ weights
            assert error <= np.sqrt(np.mean((fitted - labels) ** 2)) + 1e-6


def four(scores, top, bottom, place, width):
    """The curve as the field's code writes it."""
    return bottom + (top - bottom) / (1 + np.exp(-(scores - place) / abs(width)))


@pytest.mark.parametrize("shape", [lambda y: y, lambda y: np.tanh((y - 50) / 20), lambda y: np.exp(y / 30), np.sqrt])
@pytest.mark.parametrize("n", [30, 1200])
def test_the_four_parameter_curve_is_scipys_wherever_its_start_leads_there(shape, n):
    rng = np.random.default_rng(n)
    labels = rng.uniform(0, 100, n)
    scores = shape(labels)
    scores = scores + 0.3 * scores.std() * rng.normal(size=n)
    start = [labels.max(), labels.min(), scores.mean(), scores.std() / 4]
    found, _ = optimize.curve_fit(four, scores, labels, p0=start, maxfev=100_000)
    expected = four(scores, *found)
    fit = fit_four(scores, labels)
    assert fit.plcc.value == pytest.approx(np.corrcoef(expected, labels)[0, 1], abs=1e-6)
    assert fit.rmse.value == pytest.approx(np.sqrt(np.mean((expected - labels) ** 2)), rel=1e-6)
    b1, b2, b3, b4, b5 = fit.parameters
    assert b4 == 0
    assert logistic(scores, *fit.parameters) == pytest.approx(four(scores, b5 + b1 / 2, b5 - b1 / 2, b3, 1 / b2))
    assert fit_four(7 + 0.01 * scores, labels).rmse.value == pytest.approx(fit.rmse.value, rel=1e-6)


def test_a_four_parameter_curve_does_not_fall_and_needs_four_items():
    labels = np.linspace(0, 1, 40)
    assert fit_four(1 - labels, labels).plcc.reason == "no increasing curve is better than a constant"
    assert fit_four([1, 2, 3], [1, 2, 3]).rmse.reason == "a curve of 4 parameters needs at least as many items, got 3"
    assert fit_four([1, 2, 3, 4], [1, 2, 4, 3]).plcc.reason is None
