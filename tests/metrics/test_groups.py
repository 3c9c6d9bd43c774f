"""Groups of items that are drawn as one."""

import numpy as np
import pytest

from evqa.config.metric_names import with_groups
from evqa.metrics import METRICS, bootstrap, count_groups, paired_difference
from evqa.metrics.groups import numbered
from evqa.metrics.paired import difference_of_draws


def test_groups_are_numbered_as_they_appear_and_items_without_one_stand_alone():
    assert numbered(["b", None, "a", "b", "", None]).tolist() == [0, 1, 2, 0, 3, 4]
    assert count_groups(["b", None, "a", "b", "", None]) == 5
    assert count_groups([None, ""]) is None
    assert count_groups(None) is None
    assert (with_groups(6, None), with_groups(6, 5), with_groups("", 1)) == ("6", "6 in 5 groups", " in 1 group")


def sample(n=24):
    generator = np.random.default_rng(0)
    labels = np.round(generator.uniform(size=n) * 9)
    return labels + generator.normal(size=n), labels


def test_each_draw_is_the_metric_of_the_drawn_groups():
    scores, labels = sample()
    groups = ["a"] * 9 + ["b"] * 2 + [None] * 4 + ["c"] * 9
    by_label = np.argsort(labels, kind="stable")
    unit_N = numbered([groups[place] for place in by_label])
    draws = bootstrap(scores, labels, groups=groups, num_resamples=40, seed=3)
    drawn = np.random.default_rng(3).integers(0, 7, (40, 7))
    for place, units in enumerate(drawn):
        items = np.concatenate([by_label[unit_N == unit] for unit in units])
        for name in METRICS.keys() - {"krocc"}:
            exact = METRICS[name](scores[items], labels[items]).value
            assert draws[name][place] == pytest.approx(exact, abs=1e-12, nan_ok=True)


def test_groups_of_one_item_give_the_draws_of_items_to_the_last_bit():
    scores, labels = sample()
    plain = bootstrap(scores, labels, num_resamples=50)
    for groups in ([None] * 24, [f"g{place}" for place in range(24)]):
        grouped = bootstrap(scores, labels, groups=groups, num_resamples=50)
        assert all(np.array_equal(plain[name], grouped[name], equal_nan=True) for name in METRICS)


def test_chunks_hold_the_items_of_their_groups(monkeypatch):
    scores, labels = sample()
    groups = ["a"] * 20 + [None] * 4
    whole = bootstrap(scores, labels, groups=groups, num_resamples=30)
    monkeypatch.setattr("evqa.metrics.resampling.CELLS_PER_CHUNK", 24 * 7)
    parts = bootstrap(scores, labels, groups=groups, num_resamples=30)
    assert all(parts[name] == pytest.approx(whole[name], abs=1e-13, nan_ok=True) for name in METRICS)


def test_paired_differences_draw_the_same_groups_for_both():
    scores, labels = sample()
    groups = [f"{place // 3}" for place in range(24)]
    other = labels + np.random.default_rng(5).normal(size=24)
    draws = [bootstrap(one, labels, metrics=("challenge",), groups=groups)["challenge"] for one in (scores, other)]
    found = paired_difference(scores, other, labels, groups=groups)
    assert found == difference_of_draws(found.value, draws[0] - draws[1])
    assert found != paired_difference(scores, other, labels)
