"""What is said about an ensemble equals what the metrics say about its scores."""

import numpy as np
import pytest
from scipy import stats

from evqa.ensembling import equal, error_correlation, fit, judge, judge_given, out_of_fold
from evqa.ensembling.fitting import best_member, on_labels_scale, outer_folds, standardised
from evqa.ensembling.gain import FEW, NO_PARTS, NUM_PARTS, SAME, Division, best_out_of_fold
from evqa.ensembling.judgement import honest_scores, made_anew
from evqa.errors import AnnotationError
from evqa.metrics import bootstrap, challenge, evaluate, paired_difference
from tests.simulations.ensembles import copies, coverage, simulate

NAMES = ["a", "b", "c"]
DIVISION = Division()


def sample(n=45, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=n)
    return labels[:, None] + rng.normal(size=(n, 3)) * [0.5, 0.3, 0.4], labels


def check(judgement, scores_N, scores, labels, without, *, again, division=DIVISION):
    """Every number of a judgement, from the functions that define them."""
    best = max(range(3), key=lambda at: challenge(scores[:, at], labels).value)
    chosen = best_out_of_fold(scores, labels, division)
    assert judgement.chosen == evaluate(chosen.scores_N, labels, fitted=False)
    assert np.array_equal(judgement.scores_N, scores_N)
    assert judgement.ensemble == evaluate(scores_N, labels, fitted=False)
    assert judgement.members == tuple(evaluate(scores[:, at], labels, fitted=False) for at in range(3))
    assert judgement.best == NAMES[best] == "b"
    assert judgement.gain == chosen.gain(scores_N, again=again)
    value = challenge(scores_N, labels).value - challenge(chosen.scores_N, labels).value
    assert judgement.gain.value == pytest.approx(value)
    assert judgement.added == tuple(paired_difference(scores_N, other, labels) for other in without)
    assert np.array_equal(judgement.error_correlation_MM, error_correlation(scores, labels))


@pytest.mark.parametrize("method", ["mean", "rank_mean"])
def test_without_fitted_weights_the_prediction_itself_is_judged(method):
    scores, labels = sample()
    combination, judgement = judge(method, scores, labels, names=NAMES)
    assert combination == equal(method, NAMES)
    without = [equal(method, NAMES[:2]).apply(np.delete(scores, at, axis=1)) for at in range(3)]
    again = made_anew(method, scores, labels, DIVISION)
    check(judgement, combination.apply(scores), scores, labels, without, again=again)
    assert (judgement.honest, judgement.fitted) == ("no weight is fitted", None)


def test_fitted_weights_are_judged_out_of_fold():
    scores, labels = sample()
    combination, judgement = judge("stack", scores, labels, names=NAMES, num_folds=3, seed=4)
    assert combination == fit("stack", scores, labels, names=NAMES, seed=4)
    honest = out_of_fold("stack", scores[:, [0, 1, 2]], labels, num_folds=3, seed=4)
    without = [
        out_of_fold("stack", scores[:, [one for one in range(3) if one != at]], labels, num_folds=3, seed=4)
        for at in range(3)
    ]
    division = Division(num_folds=3, seed=4)
    again = made_anew("stack", scores, labels, division)
    check(judgement, honest, scores, labels, without, again=again, division=division)
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
    again = lambda places, _: combination.apply(scores[places])  # noqa: E731
    check(judgement, combination.apply(scores), scores, labels, without, again=again)
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


def test_the_best_member_is_chosen_for_each_fold_by_the_other_items():
    scores, labels = sample()
    scores[:, 2] = scores[:, 1] + 0.3 * np.random.default_rng(1).normal(size=45)
    folds, standard, chosen = outer_folds(labels, num_folds=5, seed=0), standardised(scores), np.empty(45)
    for fold in folds:
        rest = np.setdiff1d(np.arange(45), fold)
        chosen[fold] = standard[fold, best_member(scores[rest], labels[rest])]
    best = best_out_of_fold(scores, labels, DIVISION)
    assert best.scores_N == pytest.approx(on_labels_scale(chosen, labels))
    drawn = np.argsort(labels)[np.random.default_rng(0).integers(0, 45, (500, 45))[17]]  # in the order of the labels
    assert best.held_R[17] == pytest.approx(challenge(chosen[drawn], labels[drawn]).value)


@pytest.mark.parametrize("groups", [None, [str(place // 3) for place in range(45)]])
def test_a_part_is_half_of_the_items_or_groups_with_a_best_member_of_its_own(groups):
    scores, labels = sample()
    best = best_out_of_fold(scores, labels, Division(groups=groups))
    assert len(best.parts) == NUM_PARTS
    assert len({tuple(part.places_K) for part in best.parts}) == NUM_PARTS
    assert best.share == pytest.approx(22 / 45 if groups is None else 12 / 15)
    for part in best.parts:
        own = best_out_of_fold(scores[part.places_K], labels[part.places_K], division_of(part, groups))
        assert part.anew == pytest.approx(challenge(own.scores_N, labels[part.places_K]).value)
        assert part.held == pytest.approx(challenge(best.scores_N[part.places_K], labels[part.places_K]).value)
        assert len(part.places_K) == (22 if groups is None else 36)


def division_of(part, groups):
    """Four folds at most: three items or groups in each."""
    kept = groups and [groups[place] for place in part.places_K]
    return Division(groups=kept, num_folds=5 if groups is None else 4, seed=part.seed)


@pytest.mark.parametrize("method", ["mean", "weights"])
def test_the_error_of_a_gain_is_that_of_the_items_and_a_third_of_what_halves_made_anew_add(method):
    scores, labels = sample(n=60)
    best = best_out_of_fold(scores, labels, DIVISION)
    honest, again = honest_scores(method, scores, labels, DIVISION), made_anew(method, scores, labels, DIVISION)
    drawn = bootstrap(honest, labels, metrics=("challenge",), num_resamples=500)["challenge"] - best.held_R
    held, anew = [], []
    for part in best.parts:
        places, own = part.places_K, labels[part.places_K]
        made = honest_scores(method, scores[places], own, Division(seed=part.seed))
        held.append(challenge(honest[places], own).value - part.held)
        anew.append(challenge(made, own).value - part.anew)
    more = np.var(anew, ddof=1) - np.var(held, ddof=1)
    gain = best.gain(honest, again=again)
    error = np.sqrt(np.var(drawn, ddof=1) * 60 / 59 + max(more, 0) / 3)
    assert more > 0 or method == "mean"
    assert gain.standard_error == pytest.approx(error)
    assert (gain.low, gain.high) == pytest.approx(stats.t.interval(0.95, 59, loc=gain.value, scale=error))
    assert gain.p == pytest.approx(2 * stats.t.sf(abs(gain.value) / error, 59))


@pytest.mark.parametrize("n", [30, 500])
def test_two_copies_of_a_member_gain_nothing(n):
    scores, labels = sample(n=n)
    judgement = judge("greedy", scores[:, [1, 1]], labels, names=["a", "b"])[1]
    assert len(judgement.methods) == 5
    for name, (_, gain) in judgement.methods.items():
        if name == "rank_mean":
            continue  # ranks have another PLCC
        assert (gain.value, gain.reason) == (0.0, SAME)
        assert np.isnan([gain.low, gain.high, gain.p]).all()


def test_too_few_items_to_choose_the_best_member_give_no_gain():
    scores, labels = sample(n=5)
    judgement = judge("mean", scores, labels, names=NAMES)[1]
    assert (judgement.gain.reason, judgement.chosen, list(judgement.methods)) == (FEW, None, ["mean", "rank_mean"])
    few = judge("mean", *sample(n=9), names=NAMES)[1]  # three folds of three, but no part that has as many
    assert few.gain.reason == NO_PARTS
    assert few.chosen is not None


@pytest.mark.parametrize(("n", "num_folds"), [(15, 5), (19, 2), (20, 3)])
def test_parts_suffice_for_every_method_wherever_all_items_do(n, num_folds):
    scores, labels = sample(n=n)
    judgement = judge("stack", np.round(scores, 1), np.round(labels), names=NAMES, num_folds=num_folds)[1]
    assert len(judgement.methods) == 5
    assert all(gain.reason is None for _, gain in judgement.methods.values())


def test_the_gain_of_equal_members_is_the_true_one_and_its_interval_holds_it():
    rows = simulate("6 equal, 80 % shared", 60, times=16, methods=("mean",), seed=3)["mean"]
    shown, true = rows.mean(axis=0)[:2]
    assert shown == pytest.approx(true, abs=3 * rows[:, 0].std() / np.sqrt(16))
    assert true == pytest.approx(0.032, abs=0.003)
    assert coverage(rows)[0] >= 0.8  # with the best member of the same labels: 0.35 to 0.87


def test_an_interval_knows_that_other_items_would_have_given_other_weights():
    # Greedy selection is the one good member most times: without new fits its gain is 0 and has no width.
    rows = simulate("1 good, 4 noise", 60, times=5, methods=("greedy",), seed=3)["greedy"]
    assert 0 in rows[:, 0]
    assert (rows[:, 3] > rows[:, 2] + 0.01).all()
    assert coverage(rows) == [1.0, 1.0]


def test_copies_of_items_do_not_make_an_ensemble_better_than_it_is():
    found = {"true": [], "groups": [], "items": []}
    for seed in range(5):
        scores, labels, groups = copies(np.random.default_rng(seed))
        names = [str(place) for place in range(16)]
        large, truth, _ = copies(np.random.default_rng(99), n=2000)
        combination = fit("stack", scores, labels, names=names, groups=groups)
        found["true"].append(challenge(combination.apply(large), truth).value)
        found["groups"].append(challenge(out_of_fold("stack", scores, labels, groups=groups), labels).value)
        found["items"].append(challenge(out_of_fold("stack", scores, labels), labels).value)
    true, grouped, single = (np.mean(values) for values in found.values())
    assert grouped == pytest.approx(true, abs=0.12)
    assert single > true + 0.2
