"""Kendall's tau by influence values: against all pairs, a numeric derivative, and SciPy's tau of resampled vectors."""

import math

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import bootstrap
from evqa.metrics.concordance import concordance, kendall_influence
from evqa.metrics.resampling import item_counts


def sample(n, *, ties):
    rng = np.random.default_rng(n)
    labels = rng.normal(size=n)
    scores = labels + rng.normal(scale=0.7, size=n)
    return (np.round(scores * 2), np.round(labels * 1.5)) if ties else (scores, labels)


def weighted_tau(weight_N, scores, labels):
    """Tau-b of pairs that count as often as both of their items, by a table of all pairs."""
    pairs_NN, signs = np.outer(weight_N, weight_N), [np.sign(v[:, None] - v[None]) for v in (scores, labels)]
    untied = [(pairs_NN * np.abs(sign)).sum() for sign in signs]
    return (pairs_NN * signs[0] * signs[1]).sum() / math.sqrt(untied[0] * untied[1])


@pytest.mark.parametrize("ties", [False, True])
def test_pairs_are_those_of_a_table_and_influence_is_the_derivative_by_an_items_weight(ties):
    scores, labels = sample(40, ties=ties)
    table = np.sign(scores[:, None] - scores[None]) * np.sign(labels[:, None] - labels[None])
    assert concordance(scores, labels).tolist() == table.sum(axis=1).tolist()
    tau, influence_N = kendall_influence(scores, labels)
    assert tau == pytest.approx(stats.kendalltau(scores, labels).statistic, abs=1e-12)
    for item, value in enumerate(influence_N):
        step = 1e-4 * (np.arange(40) == item)
        slope = (weighted_tau(1 + step, scores, labels) - weighted_tau(1 - step, scores, labels)) / 2e-4
        assert value == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [None, [f"creator {place // 3}" for place in range(300)]], ids=["items", "groups"])
def test_of_300_items_draws_have_the_mean_and_spread_of_the_exact_ones(ties, groups):
    scores, labels = sample(300, ties=ties)
    draws = bootstrap(scores, labels, metrics=("krocc",), num_resamples=600, groups=groups)["krocc"]
    rows = np.concatenate(list(item_counts(labels, groups, num_resamples=600, seed=0))).astype(int)
    drawn = [np.repeat(np.argsort(labels, kind="stable"), row) for row in rows]
    exact = np.array([stats.kendalltau(scores[items], labels[items]).statistic for items in drawn])
    assert draws.mean() == pytest.approx(exact.mean(), abs=0.1 * exact.std())
    assert draws.std() == pytest.approx(exact.std(), rel=0.04)
    assert np.corrcoef(draws, exact)[0, 1] > 0.98


def test_draws_do_not_exist_where_all_drawn_items_are_tied_and_never_leave_the_scale():
    labels = np.array([0.0, 0.0, 1.0, 1.0, 2.0])
    draws = bootstrap(labels + 0.1 * (np.arange(5) % 2), labels, metrics=("srocc", "krocc"), num_resamples=400)
    assert 1 < np.isnan(draws["krocc"]).sum() < 40
    assert np.array_equal(np.isnan(draws["krocc"]), np.isnan(draws["srocc"]))
    assert np.nanmax(draws["krocc"]) < 1
    perfect = bootstrap(labels, labels, metrics=("krocc",), num_resamples=50)["krocc"]
    assert perfect[np.isfinite(perfect)] == pytest.approx(1, abs=1e-11)
