"""Combinations and their weights, by hand and against the textbook's formulas."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from evqa.ensembling import Combination, equal, fit, load, out_of_fold, save
from evqa.ensembling.combination import METHODS
from evqa.ensembling.fitting import (
    RIDGES,
    SHRINKAGES,
    best_convex,
    convex_path,
    ridge_path,
    stratified_folds,
)
from evqa.errors import AnnotationError
from evqa.metrics import challenge

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
    assert METHODS == ("mean", "rank_mean", "weights", "stack")


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


@pytest.mark.parametrize("method", ["weights", "stack"])
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


def test_ridge_weights_are_the_textbooks_and_calibrated_to_the_labels():
    scores, labels = sample()
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    path = ridge_path(scores, labels, names=["a", "b", "c"])
    assert len(path) == len(RIDGES)
    for ridge, found in zip(RIDGES, path, strict=True):
        gram = standard.T @ standard + ridge * len(labels) * np.eye(3)
        plain = np.linalg.solve(gram, standard.T @ (labels - labels.mean()))
        mixed = standard @ plain
        slope = np.polyfit(mixed, labels, 1)[0]
        assert found.weights == pytest.approx(tuple(slope * plain))
        assert found.centres == pytest.approx(tuple(scores.mean(axis=0)))
        assert found.spreads == pytest.approx(tuple(scores.std(axis=0)))
        assert (found.method, found.members) == ("stack", ("a", "b", "c"))
        assert found.offset == pytest.approx(labels.mean())
        assert np.polyfit(found.apply(scores), labels, 1) == pytest.approx([1, 0], abs=1e-9)


def test_convex_weights_shrink_towards_equal_ones():
    scores, labels = sample()
    path = convex_path(scores, labels, names=["a", "b", "c"])
    best = best_convex((scores - scores.mean(axis=0)) / scores.std(axis=0), labels)
    for shrinkage, found in zip(SHRINKAGES, path, strict=True):
        assert found.shares() == pytest.approx(tuple((1 - shrinkage) * best + shrinkage / 3))
        assert (found.method, found.members) == ("weights", ("a", "b", "c"))
        assert np.polyfit(found.apply(scores), labels, 1) == pytest.approx([1, 0], abs=1e-9)


def test_members_that_fall_where_labels_rise_keep_their_weights_uncalibrated():
    labels = np.linspace(0, 1, 20)
    scores = np.stack([-labels, -(labels**2)], axis=1)
    for found in convex_path(scores, labels, names=["a", "b"]):
        assert min(found.weights) >= 0
        assert sum(found.weights) == pytest.approx(1)


def test_a_constant_member_is_not_divided_by_its_spread():
    scores, labels = sample(members=2)
    flat = np.stack([scores[:, 0], np.full(60, 0.3)], axis=1)
    for path in (convex_path, ridge_path):
        for found in path(flat, labels, names=["a", "flat"]):
            assert found.spreads[1] == 1.0
            assert np.isfinite(found.apply(flat)).all()


@pytest.mark.parametrize("good", [0, 1, 2])
def test_all_weight_goes_to_the_only_member_that_knows(good):
    rng = np.random.default_rng(good)
    labels = rng.uniform(size=80)
    scores = rng.normal(size=(80, 3)) * 1e-3
    scores[:, good] = labels
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    weights = best_convex(standard, labels)
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
    folds = stratified_folds(labels, num_folds=3, seed=1)
    of_item = {int(item): number for number, fold in enumerate(folds) for item in fold}
    order = np.argsort(labels)
    for start in range(0, 30, 3):
        assert sorted(of_item[int(item)] for item in order[start : start + 3]) == [0, 1, 2]
    again, other = (stratified_folds(labels, num_folds=3, seed=seed) for seed in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(folds, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(folds, other, strict=True))


@pytest.mark.parametrize(("n", "num_folds", "needed"), [(5, 2, 6), (8, 3, 9), (100, 1, 3), (0, 2, 6)])
def test_too_few_items_or_folds_are_refused_and_just_enough_are_not(n, num_folds, needed):
    with pytest.raises(AnnotationError) as error:
        stratified_folds(np.arange(float(n)), num_folds=num_folds, seed=0)
    assert str(error.value) == (
        f"{n} labelled items are too few for {num_folds} folds: at least 2 folds and {needed} items are needed."
    )
    if num_folds > 1:
        folds = stratified_folds(np.arange(float(needed)), num_folds=num_folds, seed=0)
        assert [len(fold) for fold in folds] == [3] * num_folds


@pytest.mark.parametrize("method", ["weights", "stack"])
def test_the_strength_is_the_one_whose_held_out_scores_are_best(method):
    scores, labels = sample(n=40, members=4, seed=3)
    names = list("abcd")
    path = {"weights": convex_path, "stack": ridge_path}[method]
    held_out = np.empty((len(path(scores, labels, names=names)), len(labels)))
    for fold in stratified_folds(labels, num_folds=3, seed=5):
        rest = np.setdiff1d(np.arange(len(labels)), fold)
        for place, candidate in enumerate(path(scores[rest], labels[rest], names=names)):
            held_out[place, fold] = candidate.apply(scores[fold])
    goodness = [challenge(one, labels).value for one in held_out]
    best = max(range(len(goodness)), key=lambda place: (goodness[place], place))
    assert fit(method, scores, labels, names=names, seed=5) == path(scores, labels, names=names)[best]
    assert fit(method, scores, labels, names=names) == fit(method, scores, labels, names=names, seed=0)


def test_out_of_fold_scores_come_from_fits_without_their_fold():
    scores, labels = sample(n=45, members=2)
    found = out_of_fold("stack", scores, labels, names=["a", "b"], num_folds=3, seed=7)
    for number, fold in enumerate(stratified_folds(labels, num_folds=3, seed=7)):
        rest = np.setdiff1d(np.arange(45), fold)
        inner = fit("stack", scores[rest], labels[rest], names=["a", "b"], seed=7 + number + 1)
        assert found[fold] == pytest.approx(inner.apply(scores[fold]), abs=1e-15)
    default = out_of_fold("stack", scores, labels, names=["a", "b"])
    assert np.array_equal(default, out_of_fold("stack", scores, labels, names=["a", "b"], num_folds=5, seed=0))


@pytest.mark.parametrize("method", ["weights", "stack"])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_constant_members_give_the_mean_label_and_no_error(method, value):
    scores, labels = np.full((30, 2), value), np.linspace(0, 1, 30)
    assert fit(method, scores, labels, names=["a", "b"]).apply(scores) == pytest.approx(np.full(30, 0.5))


def test_a_method_without_weights_is_not_fitted():
    with pytest.raises(ValueError, match=r"^method 'mean' has no weights to fit$"):
        fit("mean", *sample(), names=["a", "b", "c"])
