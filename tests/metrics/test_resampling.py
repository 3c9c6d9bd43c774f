import time

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import METRICS, bootstrap, interval
from evqa.metrics.resampling import counts


def sample(n, *, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=n)
    scores = labels + rng.normal(scale=0.3, size=n)
    return (np.round(scores * 6), np.round(labels * 5)) if ties else (scores, labels)


@pytest.mark.parametrize("ties", [False, True])
def test_each_draw_is_the_metric_of_the_resampled_vectors(ties):
    scores, labels = sample(40, ties=ties)
    draws = bootstrap(scores, labels, num_resamples=60, seed=5)
    by_label = np.argsort(labels, kind="stable")
    rows = np.concatenate(list(counts(40, num_resamples=60, seed=5))).astype(int)
    for place, row in enumerate(rows):
        items = np.repeat(by_label, row)
        s, y = scores[items], labels[items]
        assert draws["srocc"][place] == pytest.approx(stats.spearmanr(s, y).statistic, abs=1e-12)
        assert draws["plcc"][place] == pytest.approx(stats.pearsonr(s, y).statistic, abs=1e-12)
        assert draws["krocc"][place] == pytest.approx(stats.kendalltau(s, y).statistic, abs=1e-12)
        assert draws["rmse"][place] == pytest.approx(np.sqrt(np.mean((s - y) ** 2)), abs=1e-12)


def test_intervals_agree_with_scipy_bootstrap():
    scores, labels = sample(80)
    ours = interval(bootstrap(scores, labels, metrics=("plcc",))["plcc"])
    theirs = stats.bootstrap(
        (scores, labels),
        lambda s, y: stats.pearsonr(s, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.02)


def test_same_seed_gives_the_same_draws_and_another_seed_others():
    vectors = sample(50)
    first, again, other = (bootstrap(*vectors, metrics=("srocc",), seed=seed)["srocc"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_chunks_do_not_change_the_draws(monkeypatch):
    vectors = sample(30)
    whole = bootstrap(*vectors, num_resamples=100)
    monkeypatch.setattr("evqa.metrics.resampling.CELLS_PER_CHUNK", 30 * 7)
    parts = bootstrap(*vectors, num_resamples=100)
    for name in METRICS:
        assert parts[name] == pytest.approx(whole[name], abs=1e-13)


def test_resamples_that_are_constant_are_left_out_or_forbid_the_interval():
    labels = np.array([0.0] * 30 + [1.0])
    draws = bootstrap(np.arange(31.0), labels, metrics=("srocc",))["srocc"]
    assert 0.25 < np.isnan(draws).mean() < 0.5
    assert interval(draws).reason == f"the metric does not exist in {np.isnan(draws).sum()} of 2000 resamples"
    assert interval(np.array([np.nan, *range(1, 100)])).low == pytest.approx(1 + 0.025 * 98)


def test_about_95_of_100_intervals_cover_the_true_correlation():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        labels = rng.normal(size=150)
        scores = 0.7 * labels + np.sqrt(1 - 0.7**2) * rng.normal(size=150)
        ends = interval(bootstrap(scores, labels, metrics=("plcc",), num_resamples=400)["plcc"])
        covered += ends.low <= 0.7 <= ends.high
    assert 180 <= covered <= 198


def test_ten_thousand_items_take_seconds():
    started = time.perf_counter()
    bootstrap(*sample(10_000), num_resamples=400)
    assert time.perf_counter() - started < 10  # about 1 s alone on one core
