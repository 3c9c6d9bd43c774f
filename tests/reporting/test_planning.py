import math
import re
from dataclasses import replace

import numpy as np
import pytest

from evqa.metrics import smallest_detectable
from evqa.metrics.paired import planned_detectable
from evqa.reporting.comparing import compare
from evqa.reporting.planning import MAX_SEEDS, plan, plan_blocks, plan_json, plan_sentences
from tests.simulations.comparisons import draw_study


def study_of(num_settings=2, *, num_seeds=3, noise=0.02, n=300):
    plain = draw_study(
        np.random.default_rng(4), [0.7] * num_settings, num_seeds=num_seeds, noise=noise, n=n, num_resamples=300
    )
    return compare(plain, baseline={"setting": f"s{num_settings - 1}"})


@pytest.fixture(scope="module")
def study():
    return study_of()


def test_the_present_seeds_and_items_see_about_what_the_report_prints_as_detectable(study):
    (comparison,) = study.comparisons
    noise = plan(study, difference=0.05).noise
    assert noise.items_error == pytest.approx(comparison.items_only.standard_error)
    assert noise.detectable(3, 300) == pytest.approx(comparison.difference.detectable, rel=1e-6)
    assert noise.sd_low < study.seed_spread < noise.seed_sd < noise.sd_high


@pytest.mark.parametrize("difference", [0.08, 0.09, 0.12])
def test_what_is_named_is_the_fewest_that_sees_the_difference(study, difference):
    found = plan(study, difference=difference)
    n = len(study.ids)
    assert found.noise.detectable(found.seeds, n) <= difference
    assert found.seeds == 2 or found.noise.detectable(found.seeds - 1, n) > difference
    assert found.noise.detectable(3, found.items) <= difference < found.noise.detectable(3, found.items - 1)
    assert found.seeds_low <= found.seeds <= (found.seeds_high or math.inf)
    (said,) = plan_sentences(study, difference, found)
    assert f"To see a difference of {difference:g} in 0.6 SROCC + 0.4 PLCC with 80 % probability: about" in said
    assert f"about {found.seeds} seeds a setting on the present 300 items ({found.seeds_low} to " in said
    assert said.endswith(" items with 3 seeds a setting.")


def test_what_no_number_reaches_is_said(study):
    found = plan(study, difference=0.01)
    assert found.seeds is None
    assert found.items is None
    (said,) = plan_sentences(study, 0.01, found)
    least = found.noise.detectable(MAX_SEEDS, 300)
    assert f"no number of seeds is enough on the present 300 items ({MAX_SEEDS:,} a setting find {least:.3f})" in said
    both = re.search(
        r"; no number of items is enough with 3 seeds a setting; (\d+) seeds a setting and about ([\d,]+)", said
    )
    seeds, items = (int(count.replace(",", "")) for count in both.groups())
    assert found.noise.detectable(seeds, items) <= 0.01 < found.noise.detectable(seeds, 0.9 * items)
    assert seeds == 100


def test_of_single_seeds_only_items_are_told():
    single = study_of(num_seeds=1, noise=0.0)
    found = plan(single, difference=0.02)
    (comparison,) = single.comparisons
    needed = 300 * (smallest_detectable(comparison.items_only.standard_error) / 0.02) ** 2
    assert found.items == pytest.approx(needed, rel=1e-3)
    assert found.seeds is None
    (said,) = plan_sentences(single, 0.02, found)
    assert "between these very runs: about " in said
    assert "How many seeds a setting it needs cannot be told, for the noise of training is not known" in said
    (_, table) = plan_blocks(single, found)
    assert [row[0] for row in table.rows] == ["these runs"]
    assert "no noise of training" in table.caption


def test_the_table_has_fewer_detectable_with_more_of_each(study):
    (_, table) = plan_blocks(study, plan(study, difference=0.05))
    numbers = np.array([[float(cell) for cell in row[1:]] for row in table.rows])
    assert (np.diff(numbers, axis=0) <= 0).all()
    assert (np.diff(numbers, axis=1) <= 0).all()
    assert table.columns[1] == "300 items"
    assert table.rows[1][0] == "3"
    assert numbers[1, 0] == pytest.approx(study.comparisons[0].difference.detectable, abs=1e-3)


def test_holms_family_is_in_the_plan():
    four = study_of(4)
    found = plan(four, difference=0.05)
    assert (found.noise.family, found.noise.num_settings) == (3, 4)
    assert found.noise.detectable(3, 300) > replace(found.noise, family=1).detectable(3, 300)
    assert "if it is the only one of 3 comparisons: " in plan_sentences(four, 0.05, found)[0]


def test_without_comparisons_or_with_few_items_nothing_is_planned():
    few = study_of(n=29)
    alone = compare(draw_study(np.random.default_rng(0), [0.7], num_seeds=2, noise=0.1, n=60, num_resamples=50))
    for one, why in ((few, "29 items are too few, a test needs 30"), (alone, "no two settings are compared")):
        found = plan(one, difference=0.01)
        assert found is None
        assert plan_sentences(one, 0.01, found) == [f"What a difference of 0.01 needs cannot be told: {why}."]
        assert plan_blocks(one, found) == []
        assert plan_json(0.01, found) == {"difference": 0.01}


def test_noise_that_is_known_and_noise_that_was_estimated_have_the_same_threshold():
    c4 = math.sqrt(2 / 4) * math.gamma(5 / 2) / math.gamma(4 / 2)
    estimated = smallest_detectable(0.02, shift=0.03 * c4, freedom=4, family=3)
    assert planned_detectable(0.02, shift=0.03, freedom=4, family=3) == pytest.approx(estimated)
