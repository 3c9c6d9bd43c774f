"""Combinations and their weights, by hand and against the textbook's formulas."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from evqa.ensembling import Combination, equal, fit, load, out_of_fold, save
from evqa.ensembling.combination import METHODS
from evqa.ensembling.fitting import on_labels_scale, standardised, stratified_folds
from evqa.ensembling.paths import (
    NUM_PICKS,
    RIDGES,
    SHRINKAGES,
    best_convex,
    challenge_of,
    convex_path,
    greedy_path,
    ridge_path,
)
from evqa.errors import AnnotationError
from evqa.metrics import challenge

FITTED_METHODS = ["weights", "greedy", "stack"]
FITTED = Combination(
    method="weights", members=("a", "b"), weights=(0.5, -1.0), centres=(1.0, 2.0), spreads=(2.0, 4.0), offset=3.0
)


def sample(n=60, members=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=n)
    return labels[:, None] + rng.normal(size=(n, members)) * np.linspace(0.2, 0.6, members), labels


def test_each_method_by_hand():
    scores = np.array([[3.0, 6.0], [1.0, 10.0], [2.0, 2.0]])
    assert FITTED.apply(scores).tolist() == [2.5, 1.0, 3.25]
    assert equal("mean", ["a", "b"]).apply(scores).tolist() == [4.5, 5.5, 2.0]
    assert equal("rank_mean", ["a", "b"]).apply(scores) == pytest.approx([2 / 3, 0.5, 1 / 3])
    assert equal("mean", ["a", "b"]) == Combination(method="mean", members=("a", "b"), weights=(0.5, 0.5))
    assert METHODS == ("mean", "rank_mean", "weights", "greedy", "stack")


def test_shares_are_parts_of_the_absolute_sum():
    assert Combination(method="stack", members=("a", "b"), weights=(1.0, -3.0)).shares() == (0.25, -0.75)
    assert Combination(method="stack", members=("a", "b"), weights=(0.0, 0.0)).shares() == (0.0, 0.0)


def test_weights_follow_their_members_names():
    turned, by_name = FITTED.in_order_of(["b", "a"])
    assert by_name
    assert turned == Combination(
        method="weights", members=("b", "a"), weights=(-1.0, 0.5), centres=(2.0, 1.0), spreads=(4.0, 2.0), offset=3.0
    )
    renamed, by_name = FITTED.in_order_of(["x", "a"])
    assert not by_name
    assert (renamed.members, renamed.weights) == (("x", "a"), FITTED.weights)
    assert equal("mean", ["a", "b"]).in_order_of(["b", "a"])[0].centres == ()
    with pytest.raises(AnnotationError) as error:
        FITTED.in_order_of(["a", "b", "c"])
    assert str(error.value) == "The weights are for 2 members (a, b), 3 are given."


def test_weights_come_back_from_their_file_with_what_is_known_about_them(tmp_path):
    save(tmp_path / "w.json", FITTED, about={"label": "ECR", "title": "ü"})
    assert load(tmp_path / "w.json") == (FITTED, {"label": "ECR", "title": "ü"})
    text = (tmp_path / "w.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "combination": {\n    "method": "weights",\n')
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["combination", "label", "title"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path / "w.json", FITTED, about={"score": float("nan")})


@pytest.mark.parametrize(
    "content",
    ["", "[]", "3", "{}", '{"combination": 3}', '{"combination": {"method": "mean"}}', '{"combination": {"x": 1}}'],
)
def test_another_file_is_not_taken_for_weights(tmp_path, content):
    path = tmp_path / "w.json"
    path.write_text(content)
    with pytest.raises(AnnotationError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: not a file of weights that evqa.ensemble wrote (")
    assert str(error.value).endswith(").")


@pytest.mark.parametrize("method", FITTED_METHODS)
@pytest.mark.parametrize(
    "change",
    [
        {"method": "magic"},
        {"weights": [1.0]},
        {"centres": []},
        {"spreads": []},
        {"spreads": [1.0, 0.0]},
        {"weights": [1.0, math.nan]},
        {"centres": [math.inf, 0.0]},
        {"offset": math.nan},
    ],
    ids=str,
)
def test_weights_that_do_not_fit_together_are_refused(tmp_path, method, change):
    path = tmp_path / "w.json"
    fields = {**asdict(FITTED), "method": method}
    path.write_text(json.dumps({"combination": fields}))
    assert load(path)[0].method == method
    path.write_text(json.dumps({"combination": {**fields, **change}}))
    with pytest.raises(AnnotationError, match=r"not a file of weights that evqa\.ensemble wrote"):
        load(path)


def test_equal_weights_need_neither_centres_nor_spreads(tmp_path):
    for method in ("mean", "rank_mean"):
        save(tmp_path / "w.json", equal(method, ["a", "b"]), about={})
        assert load(tmp_path / "w.json")[0] == equal(method, ["a", "b"])


def test_a_missing_file_of_weights_is_a_sentence(tmp_path):
    with pytest.raises(AnnotationError, match=r"not a file of weights that evqa\.ensemble wrote \(.*no such file"):
        load(tmp_path / "none.json")


def test_ridge_weights_are_the_textbooks():
    scores, labels = sample()
    standard = standardised(scores)
    path = ridge_path(standard, labels)
    assert len(path) == len(RIDGES)
    for ridge, found in zip(RIDGES, path, strict=True):
        gram = standard.T @ standard + ridge * len(labels) * np.eye(3)
        assert found == pytest.approx(np.linalg.solve(gram, standard.T @ (labels - labels.mean())))
    shifted = ridge_path(standard + np.arange(3), labels + 5)  # a part of the items is not centred
    assert shifted == pytest.approx(path)


def test_convex_weights_shrink_towards_equal_ones():
    scores, labels = sample()
    standard = standardised(scores)
    for shrinkage, found in zip(SHRINKAGES, convex_path(standard, labels), strict=True):
        assert found == pytest.approx((1 - shrinkage) * best_convex(standard, labels) + shrinkage / 3)


def test_greedy_picks_one_after_the_other_what_makes_the_mean_of_all_picks_best():
    scores, labels = sample(members=4)
    standard = standardised(scores)
    path, goodness = greedy_path(standard, labels), challenge_of(standard, labels)
    alone = list(goodness(np.eye(4)))
    assert NUM_PICKS[-1] == 1
    assert path[-1].tolist() == np.eye(4)[int(np.argmax(alone))].tolist()
    two = list(goodness(path[-1] + np.eye(4)))
    assert path[-2] == pytest.approx((path[-1] + np.eye(4)[int(np.argmax(two))]) / 2)
    assert path.sum(axis=1) == pytest.approx(np.ones(len(NUM_PICKS)))
    assert path * np.array(NUM_PICKS)[:, None] == pytest.approx(np.round(path * np.array(NUM_PICKS)[:, None]))
    assert goodness(path[:1])[0] >= max(alone)


@pytest.mark.parametrize("method", FITTED_METHODS)
def test_fitted_weights_are_calibrated_to_the_labels(method):
    scores, labels = sample()
    found = fit(method, scores, labels, names=["a", "b", "c"])
    assert (found.method, found.members) == (method, ("a", "b", "c"))
    assert found.centres == pytest.approx(tuple(scores.mean(axis=0)))
    assert found.spreads == pytest.approx(tuple(scores.std(axis=0)))
    assert found.offset == pytest.approx(labels.mean())
    assert np.polyfit(found.apply(scores), labels, 1) == pytest.approx([1, 0], abs=1e-9)


def test_members_that_fall_where_labels_rise_keep_their_weights_uncalibrated():
    labels = np.linspace(0, 1, 20)
    scores = np.stack([-labels, -(labels**2)], axis=1)
    found = fit("weights", scores, labels, names=["a", "b"])
    assert min(found.weights) >= 0
    assert sum(found.weights) == pytest.approx(1)
    assert on_labels_scale(-labels, labels) == pytest.approx(1 - labels)


@pytest.mark.parametrize("method", FITTED_METHODS)
def test_a_constant_member_has_weight_0_and_is_not_divided_by_its_spread(method):
    scores, labels = sample(members=2)
    flat = np.stack([scores[:, 0], np.full(60, 0.3)], axis=1)
    found = fit(method, flat, labels, names=["a", "flat"])
    assert (found.weights[1], found.spreads[1], found.retired()) == (0, 1, ("flat",))
    assert np.isfinite(found.apply(flat)).all()
    alone = out_of_fold(method, flat, labels)
    assert challenge(alone, labels).value == pytest.approx(challenge(flat[:, 0], labels).value)


@pytest.mark.parametrize("method", ["mean", "rank_mean"])
def test_a_member_without_weight_has_no_part_in_a_mean(method):
    scores, _ = sample()
    two = equal(method, ["a", "b"]).apply(scores[:, :2])
    assert equal(method, ["a", "b", "c"], without=["c"]).apply(scores).tolist() == two.tolist()
    assert equal(method, ["a", "b"], without=["a", "b"]).weights == (0.5, 0.5)


@pytest.mark.parametrize("good", [0, 1, 2])
def test_all_weight_goes_to_the_only_member_that_knows(good):
    rng = np.random.default_rng(good)
    labels = rng.uniform(size=80)
    scores = rng.normal(size=(80, 3)) * 1e-3
    scores[:, good] = labels
    weights = best_convex(standardised(scores), labels)
    assert weights[good] > 0.97
    assert weights.sum() == pytest.approx(1)


def test_single_steps_find_a_mixture_between_the_starts():
    rng = np.random.default_rng(4)
    parts = rng.normal(size=(200, 2))
    labels = parts @ [0.7, 0.3]
    weights = best_convex(parts / parts.std(axis=0), labels)
    exact = np.array([0.7, 0.3]) * parts.std(axis=0)
    assert weights == pytest.approx(exact / exact.sum(), abs=0.02)


def test_folds_put_neighbours_in_label_order_apart_and_follow_the_seed():
    labels = np.random.default_rng(0).permutation(31) / 31
    folds = stratified_folds(labels, unit_N=np.arange(len(labels)), num_folds=3, seed=1)
    of_item = {int(item): number for number, fold in enumerate(folds) for item in fold}
    order = np.argsort(labels)
    for start in range(0, 30, 3):
        assert sorted(of_item[int(item)] for item in order[start : start + 3]) == [0, 1, 2]
    again, other = (stratified_folds(labels, unit_N=np.arange(len(labels)), num_folds=3, seed=seed) for seed in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(folds, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(folds, other, strict=True))


@pytest.mark.parametrize(("n", "num_folds", "needed"), [(5, 2, 6), (8, 3, 9), (100, 1, 3), (0, 2, 6)])
def test_too_few_items_or_folds_are_refused_and_just_enough_are_not(n, num_folds, needed):
    with pytest.raises(AnnotationError) as error:
        stratified_folds(np.arange(float(n)), unit_N=np.arange(n), num_folds=num_folds, seed=0)
    assert str(error.value) == (
        f"{n} labelled items are too few for {num_folds} folds: at least 2 folds and {needed} items are needed."
    )
    if num_folds > 1:
        folds = stratified_folds(np.arange(float(needed)), unit_N=np.arange(needed), num_folds=num_folds, seed=0)
        assert [len(fold) for fold in folds] == [3] * num_folds


PATHS = {"weights": convex_path, "greedy": greedy_path, "stack": ridge_path}


def mixed(standard, weights):
    """With the same spread in every fold."""
    return standard @ weights / (standard @ weights).std()


def chosen(method, standard, labels, rows, *, seed, unit_N):
    """Weights of the strength whose held-out scores are best."""
    candidates, held_out = PATHS[method](standard[rows], labels[rows]), np.zeros((10, len(labels)))
    for places in stratified_folds(labels[rows], unit_N=unit_N[rows], num_folds=3, seed=seed):
        rest = np.setdiff1d(rows, rows[places])
        for place, weights in enumerate(PATHS[method](standard[rest], labels[rest])):
            held_out[place, rows[places]] = mixed(standard, weights)[rows[places]]
    goodness = [challenge(one[rows], labels[rows]).value for one in held_out[: len(candidates)]]
    return candidates[max(range(len(goodness)), key=lambda place: (goodness[place], place))]


@pytest.mark.parametrize("method", FITTED_METHODS)
def test_the_strength_is_the_one_whose_held_out_scores_are_best(method):
    scores, labels = sample(n=40, members=4, seed=3)
    names, everyone = list("abcd"), np.arange(40)
    weights = chosen(method, standardised(scores), labels, everyone, seed=5, unit_N=everyone)
    found = fit(method, scores, labels, names=names, seed=5)
    assert np.abs(found.shares()) == pytest.approx(np.abs(weights) / np.abs(weights).sum())
    assert fit(method, scores, labels, names=names) == fit(method, scores, labels, names=names, seed=0)


@pytest.mark.parametrize("method", FITTED_METHODS)
@pytest.mark.parametrize("size", [1, 3])
def test_out_of_fold_scores_come_from_fits_without_their_fold_and_groups_stay_together(method, size):
    scores, labels = sample(n=81, members=2)
    groups, unit_N = [f"g{place // size}" for place in range(81)], np.arange(81) // size
    found, held_out = out_of_fold(method, scores, labels, groups=groups, num_folds=3, seed=7), np.empty(81)
    standard = standardised(scores)
    folds = stratified_folds(labels, unit_N=unit_N, num_folds=3, seed=7)
    for number, fold in enumerate(folds):
        rest = np.setdiff1d(np.arange(81), fold)
        assert not set(unit_N[fold]) & set(unit_N[rest])
        weights = chosen(method, standard, labels, rest, seed=7 + number + 1, unit_N=unit_N)
        held_out[fold] = mixed(standard, weights)[fold]
    slope, offset = np.polyfit(held_out, labels, 1)
    assert found == pytest.approx(slope * held_out + offset, abs=1e-12)
    default = out_of_fold(method, scores, labels)
    assert np.array_equal(default, out_of_fold(method, scores, labels, num_folds=5, seed=0))


@pytest.mark.parametrize("n", [30, 500])
@pytest.mark.parametrize("method", FITTED_METHODS)
def test_two_copies_of_a_member_have_its_score_out_of_fold(method, n):
    scores, labels = sample(n=n, members=1)
    honest = out_of_fold(method, np.repeat(scores, 2, axis=1), labels)
    assert challenge(honest, labels).value == pytest.approx(challenge(scores[:, 0], labels).value, abs=1e-12)


def test_folds_need_three_groups_each():
    labels, unit_N = np.arange(40.0), np.arange(40) // 10
    with pytest.raises(AnnotationError) as error:
        stratified_folds(labels, unit_N=unit_N, num_folds=2, seed=0)
    assert str(error.value) == (
        "40 labelled items in 4 groups are too few for 2 folds: at least 2 folds and 6 groups are needed."
    )
    folds = stratified_folds(labels, unit_N=np.arange(40) // 5, num_folds=2, seed=0)
    assert sorted(len(fold) for fold in folds) == [20, 20]


@pytest.mark.parametrize("method", FITTED_METHODS)
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_constant_members_give_the_mean_label_and_no_error(method, value):
    scores, labels = np.full((30, 2), value), np.linspace(0, 1, 30)
    assert fit(method, scores, labels, names=["a", "b"]).apply(scores) == pytest.approx(np.full(30, 0.5))
    assert out_of_fold(method, scores, labels) == pytest.approx(np.full(30, 0.5))
