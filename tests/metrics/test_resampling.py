import time

import numpy as np
import pytest
from scipy import stats

from evqa.metrics import METRICS, bootstrap, interval
from evqa.metrics.resampling import bootstrap_each, counts


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
        assert draws["rmse"][place] == pytest.approx(np.sqrt(np.mean((s - y) ** 2)), abs=1e-12)
    assert draws["challenge"] == pytest.approx(0.6 * draws["srocc"] + 0.4 * draws["plcc"], abs=1e-15)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_asked_for_alone_has_the_same_draws_and_no_company(name):
    vectors = sample(30)
    alone = bootstrap(*vectors, metrics=(name,), num_resamples=20, seed=2)
    assert list(alone) == [name]
    assert np.array_equal(alone[name], bootstrap(*vectors, num_resamples=20, seed=2)[name])


def test_several_predictions_have_their_own_draws_from_resamples_that_are_drawn_once(monkeypatch):
    calls, done = [], []
    monkeypatch.setattr(
        "evqa.metrics.resampling.counts", lambda *given, **named: (calls.append(1), counts(*given, **named))[1]
    )
    monkeypatch.setattr("evqa.metrics.resampling.CELLS_PER_CHUNK", 30 * 8)
    scores, labels = sample(30)
    broken, tied = np.full(30, np.nan), np.round(scores * 4)
    found = bootstrap_each([scores, broken, tied], labels, num_resamples=20, told=done.append)
    assert (len(calls), done) == (1, [8, 16, 20])
    for draws, one in zip(found, (scores, broken, tied), strict=True):
        alone = bootstrap(one, labels, num_resamples=20)
        assert all(np.array_equal(draws[name], alone[name], equal_nan=True) for name in METRICS)


def test_resamples_are_2000_rows_of_counts_that_sum_to_n_unless_asked_otherwise():
    rows = np.concatenate(list(counts(7)))
    assert (rows.shape, rows.dtype) == ((2000, 7), np.float64)
    assert set(rows.sum(axis=1)) == {7.0}
    assert rows.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)
    assert np.array_equal(rows, np.concatenate(list(counts(7, num_resamples=2000, seed=0))))
    assert list(counts(7, num_resamples=0)) == []
    drawn = np.random.default_rng(5).integers(0, 7, (3, 7))
    assert np.array_equal(next(counts(7, num_resamples=3, seed=5)), [np.bincount(row, minlength=7) for row in drawn])


def test_a_row_fits_into_a_chunk_however_long_it_is(monkeypatch):
    monkeypatch.setattr("evqa.metrics.resampling.CELLS_PER_CHUNK", 3)
    assert [len(chunk) for chunk in counts(7, num_resamples=2)] == [1, 1]
    monkeypatch.setattr("evqa.metrics.resampling.CELLS_PER_CHUNK", 14)
    assert [len(chunk) for chunk in counts(7, num_resamples=5)] == [2, 2, 1]


@pytest.mark.parametrize("broken", [([0.1, np.nan], [0.1, 0.2]), ([], [])])
def test_what_has_no_value_has_only_draws_without_one(broken):
    draws = bootstrap(*broken, num_resamples=4)
    assert set(draws) == set(METRICS)
    assert all(np.isnan(values).all() and len(values) == 4 for values in draws.values())
    assert all(len(values) == 0 for values in bootstrap(*sample(9), num_resamples=0).values())


def test_constant_scores_have_an_error_and_no_correlation_in_any_resample():
    draws = bootstrap([0.3] * 8, np.arange(8.0), num_resamples=30)
    assert np.isfinite(draws["rmse"]).all()
    assert all(np.isnan(draws[name]).all() for name in ("srocc", "plcc", "krocc", "challenge"))


def test_draws_do_not_depend_on_the_scale_of_the_scores():
    scores, labels = sample(25)
    plain = bootstrap(scores, labels, num_resamples=40)
    for scaled in (1e200 * scores, 1e-200 * scores, 1e6 + scores):
        draws = bootstrap(scaled, labels, metrics=("srocc", "plcc", "krocc"), num_resamples=40)
        for name, values in draws.items():
            assert values == pytest.approx(plain[name], abs=1e-9)


def test_an_interval_is_the_middle_of_the_draws_that_exist():
    draws = np.arange(101.0)
    for level, ends in ((0.95, (2.5, 97.5)), (0.5, (25.0, 75.0))):
        assert (interval(draws, level=level).low, interval(draws, level=level).high) == pytest.approx(ends)
    assert interval(draws) == interval(draws, level=0.95)
    assert interval(draws).reason is None
    few, many = (np.array([np.nan] * missing + [1.0] * (100 - missing)) for missing in (5, 6))
    assert interval(few).reason is None
    assert interval(many).reason == "the metric does not exist in 6 of 100 resamples"
    assert np.isnan([interval(many).low, interval(many).high]).all()
    nothing = interval(np.empty(0))
    assert nothing.reason == "no resamples were drawn"
    assert np.isnan([nothing.low, nothing.high]).all()


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


def test_resamples_that_are_constant_are_left_out_or_forbid_the_interval(monkeypatch):
    labels = np.array([0.0] * 30 + [1.0])
    monkeypatch.setattr("evqa.metrics.resampling.CELLS_PER_CHUNK", 31)  # where whole chunks are constant
    of_each = bootstrap(np.arange(31.0), labels / 3, num_resamples=300)
    assert all(np.array_equal(np.isnan(of_each["srocc"]), np.isnan(of_each[name])) for name in ("plcc", "krocc"))
    monkeypatch.undo()
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
    assert time.perf_counter() - started < 5  # about 0.1 s alone on one core
