"""Pairs, best items and label distances: against plain loops, in every resample, at the borders."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import bootstrap, share_interval
from evqa.metrics.pairs import gap_draws, pairwise_by_gap
from evqa.metrics.proportion import wilson_interval
from evqa.metrics.ranking import (
    RANKING,
    auc_of_top,
    by_chance,
    ndcg_at,
    num_judged,
    pairwise_accuracy,
    precision_at,
    ranking_draws,
    recall_at,
)
from evqa.metrics.resampling import item_counts


def sample(n, *, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=n)
    scores = labels + rng.normal(scale=0.3, size=n)
    return (np.round(scores * 6), np.round(labels * 7)) if ties else (scores, labels)


def in_order(scores, labels, *, least=0.0, most=math.inf):
    """Share of right pairs by a loop over all pairs."""
    marks = [
        0.5 + 0.5 * np.sign(s - other_s) * np.sign(y - other_y)
        for (s, y), (other_s, other_y) in itertools.combinations(zip(scores, labels, strict=True), 2)
        if y != other_y and least <= abs(y - other_y) < most
    ]
    return np.mean(marks) if marks else math.nan


def size_of(share, n):
    return max(1, math.floor(share * n + 0.5))


def is_wanted(labels, share):
    return labels >= np.sort(labels)[-size_of(share, len(labels))]


def parts_selected(scores, share):
    """1 for an item among the first by score, 0 for one that is not, and between for equal ones at the border."""
    number = size_of(share, len(scores))
    above, equal = ((scores[None] > scores[:, None]).sum(axis=1), (scores[None] == scores[:, None]).sum(axis=1))
    return np.clip((number - above) / equal, 0, 1)


def ndcg_by_formula(scores, labels, share):
    """scikit-learn's `ndcg_score` of labels less their minimum: equal scores have the mean gain of their ranks."""
    number, gains = size_of(share, len(scores)), labels - labels.min()
    discounts = np.where(np.arange(len(scores)) < number, 1 / np.log2(np.arange(len(scores)) + 2), 0)
    places = np.argsort(-scores, kind="stable")
    mean_gains = [gains[scores == scores[place]].mean() for place in places]
    return (mean_gains @ discounts) / (np.sort(gains)[::-1] @ discounts)


def by_hand(name, scores, labels):
    if name == "pairwise":
        return in_order(scores, labels)
    if name == "ndcg_20":
        return ndcg_by_formula(scores, labels, 0.2)
    if name == "auc_20":
        wanted = is_wanted(labels, 0.2)
        pairs = len(labels[wanted]) * len(labels[~wanted])
        return stats.mannwhitneyu(scores[wanted], scores[~wanted]).statistic / pairs if pairs else math.nan
    selected, wanted = {"precision_10": (0.1, 0.1), "precision_20": (0.2, 0.2), "recall_10_in_20": (0.2, 0.1)}[name]
    found = parts_selected(scores, selected)[is_wanted(labels, wanted)].sum()
    out_of = is_wanted(labels, wanted).sum() if name.startswith("recall") else size_of(selected, len(labels))
    return found / out_of


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [None, [f"creator {place // 3}" for place in range(57)]], ids=["items", "groups"])
def test_a_measure_and_each_of_its_draws_are_those_of_plain_loops(name, ties, groups):
    scores, labels = sample(57, ties=ties)
    assert RANKING[name](scores, labels).value == pytest.approx(by_hand(name, scores, labels), abs=1e-12)
    order = np.argsort(labels, kind="stable")
    rows = np.concatenate(list(item_counts(labels, groups, num_resamples=40, seed=3))).astype(int)
    drawn = [[values[np.repeat(order, row)] for values in (scores, labels)] for row in rows]
    krocc = np.array([stats.kendalltau(*vectors).statistic for vectors in drawn])
    draws = ranking_draws([-scores, scores], labels, [krocc, krocc], groups=groups, seed=3)[1][name]
    expected = [by_hand(name, *vectors) for vectors in drawn]
    assert draws == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_worked_example_by_hand():
    labels = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    scores = np.array([8.0, 9.0, 1.0, 7.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert precision_at(scores, labels, selected=0.3, wanted=0.3).value == pytest.approx(2 / 3)
    assert recall_at(scores, labels, selected=0.2, wanted=0.3).value == pytest.approx(2 / 3)
    assert precision_at(scores, labels, selected=0.2, wanted=0.3).value == 1
    assert auc_of_top(scores, labels, wanted=0.3).value == pytest.approx(20 / 21)
    assert pairwise_accuracy(scores, labels).value == pytest.approx(33 / 35)  # 10 + 25 pairs, two of them swapped
    gains, log3 = (4 + 5 / math.log2(3)), math.log2(3)
    assert ndcg_at(scores, labels, selected=0.2).value == pytest.approx(gains / (5 + 4 / log3))


def test_draws_do_not_depend_on_chunks_and_measures_ignore_increasing_maps_and_the_labels_unit(monkeypatch):
    scores, labels = sample(60)
    krocc = bootstrap(scores, labels, metrics=("krocc",), num_resamples=30)["krocc"]
    (whole,) = ranking_draws([scores], labels, [krocc])
    monkeypatch.setattr("evqa.metrics.resampling.CELLS_PER_CHUNK", 60 * 7)
    (parts,) = ranking_draws([np.exp(scores)], 40 * labels - 7, [krocc])
    for name in RANKING:
        assert parts[name] == pytest.approx(whole[name], abs=1e-9)


@pytest.mark.parametrize("name", RANKING)
def test_what_does_not_exist_is_nan_with_a_reason_and_has_no_draws(name):
    labels = np.arange(9.0)
    constant = RANKING[name](np.full(9, 0.5), labels)
    assert (math.isnan(constant.value), constant.reason) == (True, "all 9 scores are equal (0.5)")
    draws = ranking_draws([np.full(9, 0.5)], labels, [np.full(6, math.nan)])[0][name]
    assert np.isnan(draws).all()
    assert len(draws) == 6
    mostly_zero = RANKING[name](labels, np.array([0.0] * 8 + [1.0]))
    of_fifth = name in ("precision_20", "auc_20")
    assert mostly_zero.reason == ("no label is below those of the wanted items" if of_fifth else None)


def test_perfect_scores_have_one_reversed_ones_little_and_equal_ones_what_chance_has():
    labels = np.arange(40.0)
    assert [measure(labels, labels).value for measure in RANKING.values()] == pytest.approx([1] * 6)
    reversed_values = {name: measure(-labels, labels).value for name, measure in RANKING.items()}
    assert {name for name, value in reversed_values.items() if value == 0} == set(RANKING) - {"ndcg_20"}
    expected = {"pairwise": 0.5, "precision_10": 0.1, "precision_20": 0.2, "recall_10_in_20": 0.2, "auc_20": 0.5}
    chance = by_chance(labels)
    assert {name: chance[name] for name in expected} == pytest.approx(expected)
    shuffled = [ndcg_at(np.random.default_rng(seed).normal(size=40), labels, selected=0.2).value for seed in range(400)]
    assert chance["ndcg_20"] == pytest.approx(np.mean(shuffled), abs=0.02)
    assert num_judged(labels) == dict(zip(RANKING, (40, 4, 8, 4, 8, 8), strict=True))


@pytest.mark.parametrize("ties", [False, True])
def test_pairs_by_label_distance_are_those_of_a_loop_in_every_resample(ties, monkeypatch):
    monkeypatch.setattr("evqa.metrics.pairs.BLOCK", 16)
    scores, labels = sample(50, ties=ties)
    edges = [0, 1, 2, 4, math.inf] if ties else [0, 0.1, 0.4, math.inf]
    expected = [in_order(scores, labels, least=a, most=b) for a, b in itertools.pairwise(edges)]
    assert [one.value for one in pairwise_by_gap(scores, labels, edges=edges)] == pytest.approx(
        expected, abs=1e-12, nan_ok=True
    )
    draws = gap_draws(np.array([-scores, scores]), labels, edges=edges, num_resamples=5, seed=2)
    order = np.argsort(labels, kind="stable")
    for drawn, row in zip(draws[1], next(item_counts(labels, None, num_resamples=5, seed=2)).astype(int), strict=True):
        items = np.repeat(order, row)
        expected = [in_order(scores[items], labels[items], least=a, most=b) for a, b in itertools.pairwise(edges)]
        assert drawn == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert draws[0] == pytest.approx(1 - draws[1], nan_ok=True)


def test_a_distance_that_no_pair_has_and_labels_that_are_equal_have_a_reason():
    near, far = pairwise_by_gap([1, 2, 3], [1, 2, 3], edges=[0, 5, math.inf])
    assert (near.value, far.reason) == (1, "no two labels are so far apart")
    assert pairwise_by_gap([1, 2, 3], [1, 1, 1], edges=[0, 1])[0].reason == "all 3 labels are equal (1)"


def test_an_interval_of_a_share_is_wilsons_of_as_many_items_as_have_the_draws_error():
    draws = np.random.default_rng(0).normal(0.7, 0.05, size=4000)
    error = draws.std(ddof=1) * math.sqrt(30 / 29)
    ends = share_interval(0.7, draws, num_units=30, num_judged=5)
    expected = wilson_interval(0.7, 0.21 / error**2, quantile=stats.t.ppf(0.975, 29))
    assert (ends.low, ends.high) == pytest.approx(expected)
    all_right = share_interval(1.0, np.ones(200), num_units=30, num_judged=5)
    assert (all_right.low, all_right.high) == (pytest.approx(5 / (5 + stats.t.ppf(0.975, 29) ** 2)), 1)
    assert share_interval(0.7, np.empty(0), num_units=30, num_judged=5).reason == "no resamples were drawn"
    assert share_interval(0.7, draws, num_units=1, num_judged=5).reason == "a single item or group has no spread"
    few = np.where(np.arange(4000) < 400, math.nan, draws)
    assert share_interval(0.7, few, num_units=9, num_judged=5).reason == (
        "the measure does not exist in 400 of 4000 resamples"
    )


@pytest.mark.parametrize("copies", [1, 3])
def test_intervals_hold_the_expected_value_also_of_copied_items(copies):
    rng, n = np.random.default_rng(0), 80

    def drawn():
        labels = rng.normal(size=n)
        scores = 0.8 * labels + 0.6 * rng.normal(size=n)
        return np.repeat(scores, copies), np.repeat(labels, copies)

    truth = {name: np.mean([measure(*drawn()).value for _ in range(600)]) for name, measure in RANKING.items()}
    groups, held = [f"{place // copies}" for place in range(n * copies)], dict.fromkeys(RANKING, 0)
    for _ in range(150):
        scores, labels = drawn()
        krocc = bootstrap(scores, labels, metrics=("krocc",), num_resamples=150, groups=groups)["krocc"]
        (draws,), judged = ranking_draws([scores], labels, [krocc], groups=groups), num_judged(labels)
        for name, measure in RANKING.items():
            value = measure(scores, labels).value
            ends = share_interval(value, draws[name], num_units=n, num_judged=judged[name] / copies)
            held[name] += ends.low <= truth[name] <= ends.high
    assert min(held.values()) >= 0.9 * 150, held
