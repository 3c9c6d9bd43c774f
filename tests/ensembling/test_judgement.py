"""What is said about an ensemble equals what the metrics say about its scores."""

import numpy as np
import pytest

from evqa.ensembling import equal, error_correlation, fit, judge, judge_given, out_of_fold
from evqa.errors import AnnotationError
from evqa.metrics import bootstrap, challenge, evaluate, paired_difference
from evqa.metrics.paired import difference_of_draws

NAMES = ["a", "b", "c"]


def sample(n=45, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=n)
    return labels[:, None] + rng.normal(size=(n, 3)) * [0.5, 0.3, 0.4], labels


def check(judgement, scores_N, scores, labels, without):
    """Every number of a judgement, from the functions that define them."""
    best = max(range(3), key=lambda at: challenge(scores[:, at], labels).value)
    assert np.array_equal(judgement.scores_N, scores_N)
    assert judgement.ensemble == evaluate(scores_N, labels, fitted=False)
    assert judgement.members == tuple(evaluate(scores[:, at], labels, fitted=False) for at in range(3))
    assert judgement.best == NAMES[best] == "b"
    assert judgement.gain == paired_difference(scores_N, scores[:, best], labels)
    assert judgement.added == tuple(paired_difference(scores_N, other, labels) for other in without)
    draws = [bootstrap(column, labels)["challenge"] for column in (scores_N, *scores.T)]
    value = challenge(scores_N, labels).value - challenge(scores[:, best], labels).value
    assert judgement.gain_reselected == difference_of_draws(value, draws[0] - np.max(draws[1:], axis=0))
    assert np.array_equal(judgement.error_correlation_MM, error_correlation(scores, labels))


@pytest.mark.parametrize("method", ["mean", "rank_mean"])
def test_without_fitted_weights_the_prediction_itself_is_judged(method):
    scores, labels = sample()
    combination, judgement = judge(method, scores, labels, names=NAMES)
    assert combination == equal(method, NAMES)
    without = [equal(method, NAMES[:2]).apply(np.delete(scores, at, axis=1)) for at in range(3)]
    check(judgement, combination.apply(scores), scores, labels, without)
    assert (judgement.honest, judgement.fitted) == ("no weight is fitted", None)


def test_fitted_weights_are_judged_out_of_fold():
    scores, labels = sample()
    combination, judgement = judge("stack", scores, labels, names=NAMES, num_folds=3, seed=4)
    assert combination == fit("stack", scores, labels, names=NAMES, seed=4)
    honest = out_of_fold("stack", scores, labels, names=NAMES, num_folds=3, seed=4)
    without = [
        out_of_fold("stack", np.delete(scores, at, axis=1), labels, names=["x", "y"], num_folds=3, seed=4)
        for at in range(3)
    ]
    check(judgement, honest, scores, labels, without)
    assert judgement.honest == "out of fold, nested 3-fold cross-validation"
    assert judgement.fitted == evaluate(combination.apply(scores), labels, fitted=False)
    assert judge("stack", scores, labels, names=NAMES)[1].honest == "out of fold, nested 5-fold cross-validation"


@pytest.mark.parametrize(
    ("same", "honest"),
    [
        (True, "NOT honest: the weights were fitted on these very labels"),
        (False, "weights from a file that was fitted on other labels"),
    ],
)
def test_given_weights_are_judged_with_each_member_silenced_to_its_mean(same, honest):
    scores, labels = sample()
    combination = fit("stack", scores, labels, names=NAMES)
    judgement = judge_given(combination, scores, labels, same_labels=same)
    without = []
    for at in range(3):
        silent = scores.copy()
        silent[:, at] = scores[:, at].mean()
        without.append(combination.apply(silent))
    check(judgement, combination.apply(scores), scores, labels, without)
    assert (judgement.honest, judgement.fitted) == (honest, None)


@pytest.mark.parametrize("labels", [[], [0.5] * 5])
def test_labels_without_any_difference_judge_nothing(labels):
    with pytest.raises(AnnotationError) as error:
        judge("mean", np.ones((len(labels), 2)), np.array(labels), names=["a", "b"])
    assert str(error.value) == f"{len(labels)} labels without any difference cannot judge an ensemble."


def test_a_constant_member_is_never_the_best():
    scores, labels = sample()
    scores[:, 1] = 0.5
    assert judge("mean", scores, labels, names=NAMES)[1].best in ("a", "c")


def test_errors_correlate_after_each_member_is_mapped_to_the_labels():
    scores, labels = sample()
    residuals = [labels - np.polyval(np.polyfit(column, labels, 1), column) for column in scores.T]
    assert error_correlation(scores, labels) == pytest.approx(np.corrcoef(residuals), abs=1e-9)
    flat = np.stack([scores[:, 0], np.full(45, 2.0)], axis=1)
    known = np.corrcoef([residuals[0], labels])[0, 1]  # a constant knows nothing: its error is the label
    assert error_correlation(flat, labels)[0, 1] == pytest.approx(known)
