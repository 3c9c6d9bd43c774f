"""The simulations of docs/statistics.md, small; python -m tests.simulations draws them large."""

from tests.simulations.__main__ import NAMES, PAGE
from tests.simulations.comparisons import coverage_of_best, decide
from tests.simulations.equivalence import called_equivalent
from tests.simulations.planning import planned_with_known_noise


def test_equal_settings_are_rarely_told_apart_and_the_printed_difference_is_found():
    case = {"num_settings": 2, "num_seeds": 2, "noise": 0.03, "n": 60}
    equal = decide(60, **case)
    assert equal["any"] < 0.15  # 5 % expected
    assert 0.62 < decide(60, gap=equal["printed"], seed=1, **case)["found"] < 0.95


def test_single_seeds_that_training_tells_apart_are_the_reason_for_the_sentence():
    assert decide(40, num_settings=2, num_seeds=1, noise=0.03, n=300)["any"] > 0.15


def test_the_interval_of_the_best_of_five_covers_its_true_score():
    of_best, _ = coverage_of_best(40, num_settings=5, n=60)
    assert of_best > 0.88


def test_the_page_has_a_place_for_every_table():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->\n" in text and f"<!-- end of {name} -->" in text for name in NAMES)


def test_settings_that_differ_by_the_margin_are_rarely_called_equivalent_and_equal_ones_often():
    case = {"margin": 0.2, "num_seeds": 2, "noise": 0.01, "n": 60, "num_resamples": 300}
    assert called_equivalent(80, gap=0.2, **case) < 0.15  # 5 % expected
    assert called_equivalent(20, gap=0.0, seed=1, **case) > 0.6


def test_a_study_of_the_planned_size_finds_the_planned_difference():
    """With noise that is known exactly, as the mean of some pilots is nearly; 80 % expected."""
    case = {"difference": 0.2, "num_seeds": 2, "n": 60, "noise": 0.03, "by": "seeds"}
    seeds, _, found = planned_with_known_noise(60, **case)
    assert seeds > 2
    assert 0.62 < found < 0.95
