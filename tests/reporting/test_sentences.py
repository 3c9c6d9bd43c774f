"""Every sentence of a report on both sides of its border."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evqa.errors import RunError
from evqa.report import main
from evqa.reporting.chosen import ChosenCheckpoint, chosen
from evqa.reporting.comparing import compare
from evqa.reporting.runs import look_of, read_run
from evqa.reporting.sentences import MAX_VERDICTS, chosen_places, method, p_equals, p_text, training_noise, verdicts
from evqa.reporting.study import pool
from evqa.reporting.winner import of_draws, winner_interval


def study_of(folders, **options):
    runs = [read_run(folder, split="val") for folder in folders]
    return compare(pool(runs, split="val", num_resamples=500), **options)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("seeded")
    return study_of([make_run(root, modal=modal, seed=seed) for modal in ("a", "v", "av") for seed in range(3)])


@pytest.fixture(scope="module")
def single(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("single")
    return study_of([make_run(root, modal="av"), make_run(root, modal="v", seed=4)])


def with_p(study, p, **changed):
    """The study with another adjusted p in its first comparison."""
    first, *rest = study.comparisons
    return replace(study, comparisons=(replace(first, difference=replace(first.difference, p=p, **changed)), *rest))


def verdict(study):
    return next(said for said in verdicts(study) if study.comparisons[0].first in said and "p " in said)


def test_settings_of_several_seeds_are_better_worse_or_not_told_apart(seeded):
    numbers = r"+0.200 [+0.100, +0.300]"
    known = {"value": 0.2, "low": 0.1, "high": 0.3, "detectable": 0.15}
    at = {p: verdict(with_p(seeded, p, **known)) for p in (0.04999, 0.05)}
    assert at[0.04999] == f"modal=av is better than modal=a: {numbers}, p < 0.05 (Holm, 3 comparisons)."
    assert at[0.05] == (
        f"No difference was shown between modal=av and modal=a: {numbers}, p = 0.05 (Holm, 3 comparisons). A true "
        "difference of 0.150 is found with 80 % probability if it is the only one."
    )
    worse = verdict(with_p(seeded, 0.01, **{**known, "value": -0.2}))
    assert worse.startswith("modal=av is worse than modal=a: -0.200")


def test_of_many_comparisons_those_that_show_a_difference_come_first_and_the_rest_is_counted(seeded):
    one = seeded.comparisons[0]
    p_values = [*[0.5] * (MAX_VERDICTS - 1), 0.01, 0.5, 0.02]
    many = tuple(replace(one, difference=replace(one.difference, p=p)) for p in p_values)
    said = [
        line for line in verdicts(replace(seeded, comparisons=many)) if "Holm" in line or "more comparisons" in line
    ]
    assert ["p = 0.01" in said[0], "p = 0.02" in said[1], *("No difference" in line for line in said[2:-1])] == [
        True
    ] * 8
    assert said[-1].startswith("2 more comparisons are in the table of paired differences; a difference was shown in 0")


def test_of_single_seeds_the_sentence_is_about_these_runs(single):
    better = "The modal=av run (seed 0) is better than the modal=v run (seed 4) on these items: +"
    assert verdict(single).startswith(better)
    assert verdict(single).endswith(", p < 0.0001. Another seed may turn it.")
    not_shown = verdict(with_p(single, 0.05, detectable=0.1))
    assert not_shown.startswith(
        "No difference was shown between the modal=av run (seed 0) and the modal=v run (seed 4)"
    )
    assert not_shown.endswith("A true difference of 0.100 between these very runs is found with 80 % probability.")


def test_one_degree_of_freedom_is_said_of_runs_and_two_of_settings(tmp_path, make_run):
    folders = [make_run(tmp_path, seed=seed) for seed in range(3)]
    other = make_run(tmp_path, modal="v")
    assert verdict(study_of([*folders[:2], other])).startswith("The modal=av runs (seeds 0, 1) are better than the ")
    assert verdict(study_of([*folders, other])).startswith("modal=av is better than modal=v: ")


@pytest.mark.parametrize(
    ("p", "table", "sentence"),
    [(0.000099, "<0.0001", "p < 0.0001"), (0.0001, "0.0001", "p = 0.0001"), (0.0496, "<0.05", "p < 0.05")],
)
def test_p_is_not_more_exact_than_its_method(p, table, sentence):
    assert (p_text(p), p_equals(p), p_text(math.nan)) == (table, sentence, "-")


def test_seeds_are_a_statement_of_noise_and_not_a_test_against_it(seeded, tmp_path, make_run):
    largest = max(abs(pair.difference.value) for pair in seeded.seed_pairs)
    assert training_noise(seeded) == (
        f"Training noise: SD over seeds {seeded.seed_spread:.3f} (6 degrees of freedom); seeds of one setting lie up "
        f"to {largest:.3f} apart. None of 9 pairs of seeds differs by more than the chance of items explains."
    )
    pairs = [replace(one, difference=replace(one.difference, p=0.05)) for one in seeded.seed_pairs]
    assert "None of 9 pairs" in training_noise(replace(seeded, seed_pairs=tuple(pairs)))
    pairs[:5] = [replace(one, difference=replace(one.difference, p=0.0499)) for one in pairs[:5]]
    assert training_noise(replace(seeded, seed_pairs=tuple(pairs))).endswith(
        "5 of 9 pairs of seeds differ by more than the chance of items explains (p < 0.05, Holm): modal=av 0 and 1; "
        "modal=av 0 and 2; modal=av 1 and 2 and 2 more."
    )
    noisy = study_of([make_run(tmp_path, seed=seed, noise=0.01 + 0.2 * seed) for seed in range(2)])
    said = verdicts(noisy)[-1]
    assert said.startswith("Training noise: too few seeds for its SD; seeds of one setting lie up to 0.3")
    assert said.endswith(
        "1 of the 1 pair of seeds differs by more than the chance of items explains (p < 0.05): all runs 0 and 1."
    )


@pytest.mark.parametrize("n", [29, 30])
def test_below_thirty_items_there_is_a_warning_and_no_verdict(tmp_path, make_run, n):
    study = study_of([make_run(tmp_path, modal=modal, seed=seed, n=n) for modal in ("v", "av") for seed in range(2)])
    said, (comparison,) = " ".join(verdicts(study)), study.comparisons
    assert ("Warning: 29 items are too few for a verdict (from 30 on)" in said) == (n == 29)
    assert ("train with data.folds=5 and each of data.fold=0 to 4, then report them together" in said) == (n == 29)
    assert ("is better than" in said or "No difference was shown" in said) == (n == 30)
    assert ("allows for this choice" in said) == ("chance of items" in said) == (n == 30)
    tests = [comparison.difference, comparison.items_only, *(pair.difference for pair in study.seed_pairs)]
    assert {math.isnan(number) for one in tests for number in (one.p, one.low)} == {n == 29}
    assert {math.isnan(ends.low) for ends in comparison.others.values()} == {n == 29}
    assert comparison.difference.value > 0


@pytest.mark.parametrize("num_groups", [29, 30])
def test_few_groups_are_few_items(single, num_groups):
    items = tuple(replace(item, group=str(place % num_groups)) for place, item in enumerate(single.items))
    said = " ".join(verdicts(compare(replace(single, items=items, notes=()))))
    assert ("Warning: 120 items in 29 groups are too few for a verdict (from 30 on)" in said) == (num_groups == 29)
    assert ("is better than" in said) == (num_groups == 30)


def test_what_cannot_be_compared_says_why_and_joins_no_family(seeded):
    study = with_p(seeded, math.nan, reason="all scores are equal")
    assert "modal=av and modal=a cannot be compared: all scores are equal." in verdicts(study)
    assert "(Holm, 2 comparisons)" in " ".join(verdicts(study))
    assert "Its family: all pairs of settings: 2 comparisons. Further runs join it" in " ".join(method(study))


def test_a_named_family_keeps_its_verdicts_when_unrelated_runs_are_added(tmp_path, make_run, capsys):
    def run(modal, lora, seed, noise):
        given = [f"modal={modal}", f"lora={lora}", f"seed={seed}"]
        return make_run(tmp_path, modal=modal, seed=seed, noise=noise, name=f"{modal}-{lora}-{seed}", overrides=given)

    own = [run(modal, "none", seed, 0.1) for modal in ("a", "v") for seed in range(2)]
    unrelated = [run(modal, "r64", seed, 0.02 + 0.3 * seed) for modal in ("a", "v", "av") for seed in range(2)]
    named = {"baseline": {"modal": "v"}, "family": {"lora": ["none"]}}
    (kept,) = study_of([*own, *unrelated], **named).comparisons
    (before,) = study_of(own, baseline={"modal": "v"}).comparisons
    assert (kept.difference, kept.raw_p, kept.freedom) == (before.difference, before.raw_p, before.freedom)
    grown = study_of([*own, *unrelated], baseline={"modal": "v"})
    assert len(grown.comparisons) == 3
    assert grown.comparisons[-1].difference.p != before.difference.p
    study = study_of([*own, *unrelated], family={"modal": ["a", "v"], "lora": ["none"]})
    assert [(one.first, one.second) for one in study.comparisons] in (
        [("modal=a", "modal=v")],
        [("modal=v", "modal=a")],
    )
    said = "all pairs of settings, of settings with modal=a, v; lora=none: 1 comparison."
    assert said in " ".join(method(study))
    with pytest.raises(RunError, match=r"^--compare lora=r8: among the finished runs 'lora' has none, r64\.$"):
        study_of([*own, *unrelated], family={"lora": ["none", "r8"]})
    arguments = [*map(str, [*own[::2], *unrelated[::2]]), "--out", str(tmp_path / "out"), "--baseline", "modal=v"]
    assert main([*arguments, "--compare", "lora=none"]) == 0
    assert "(both lora=none) on these items: " in " ".join(capsys.readouterr().out.split())
    assert main([*arguments, "--compare", "lora"]) == 2
    assert "--compare lora: write AXIS=VALUE, for instance modal=v." in capsys.readouterr().err


ROWS = [{"step": 9, "epoch": 0, "train/loss": 1.0}] + [
    {"step": 10 * (epoch + 1), "epoch": epoch, "val/challenge": value, "val/srocc": value / 2, "val/loss": 1 - value}
    for epoch, value in enumerate([0.2, 0.5, 0.8, 0.6])
]
RECORD = {"split": "val", "checkpoint": "best.ckpt"}
BY_LOSS = {"callbacks": {"checkpoints": {"monitor": "val/loss"}}}


def test_a_score_of_a_checkpoint_that_was_chosen_on_its_items_says_so():
    def of(name="val", record=RECORD, config=BY_LOSS, history=ROWS, metric="srocc"):
        found = chosen(name, record=record, config=config, history=history, metric=metric)
        return found and (found.place, found.last)

    assert of() == of(config={}) == of("val-eval") == of(config={"callbacks": ["odd"]}) == ("epoch 3 of 4", 0.3)
    assert of(history=[row | {"epoch": ["odd"]} for row in ROWS]) == ("validation 3 of 4", 0.3)
    assert [look_of(record) for record in ({}, {"look": 2}, {"look": "odd"})] == [1, 2, 1]
    assert of(metric="challenge") == ("epoch 3 of 4", 0.6)
    assert of("test") is of("val-a") is of(record={"checkpoint": "last.ckpt"}) is None
    assert of(record=RECORD | {"overrides": ["data.csv=other.csv"]}) is None
    assert of(history=ROWS[:2]) is None
    assert of(history=[*ROWS, {"epoch": 3, "val/loss": 0.9}])[0] == "validation 3 of 5"
    assert math.isnan(of(metric="krocc")[1])


def test_epochs_of_several_seeds_stand_once_each():
    found = [ChosenCheckpoint(place=f"epoch {epoch} of 4", last=0.5) for epoch in (3, 4, 3)]
    assert chosen_places(found) == "epoch 3, 4 of 4"


def test_a_report_names_the_epochs_that_were_chosen_and_what_the_last_ones_had(single):
    said = next(one for one in verdicts(single) if one.startswith("Each checkpoint was chosen on these items"))
    assert said.count(" of 4 (last validation 0.") == 2
    unknown = [replace(run, record={}) for run in single.settings[0].runs]
    study = replace(single, settings=(replace(single.settings[0], runs=tuple(unknown)), *single.settings[1:]))
    assert "modal=av" not in next(one for one in verdicts(study) if "chosen on these" in one)


def test_the_interval_of_the_best_allows_for_the_search(seeded, tmp_path, make_run):
    ends, alone = winner_interval(seeded), seeded.best.metrics["challenge"]
    assert ends.low < alone.low
    said = (
        f"It is the best of 3 settings on these items; the 95 % interval that allows for this choice is [{ends.low:.3f}"
    )
    assert any(one.startswith(said) for one in verdicts(seeded))
    assert winner_interval(study_of([make_run(tmp_path)])) is None


@pytest.mark.parametrize("num_settings", [2, 20])
def test_the_winners_interval_holds_the_true_value_where_a_single_one_would_not(num_settings):
    rng, truth, error, hits, plain = np.random.default_rng(0), math.atanh(0.7), 0.1, 0, 0
    for _ in range(300):
        z = truth + error * rng.normal(size=num_settings)
        winner = z.max()
        draws = np.tanh(np.sort(z)[::-1, None] + error * rng.normal(size=(num_settings, 400)))
        found = of_draws(math.tanh(winner), draws)
        hits += found.low <= 0.7 <= found.high
        plain += winner - 1.96 * error <= truth <= winner + 1.96 * error
    assert 0.94 < hits / 300 < 1
    assert (plain / 300 < 0.8) == (num_settings == 20)


def test_the_winners_interval_leaves_out_resamples_in_which_no_setting_has_a_value():
    draws = np.tanh(np.random.default_rng(1).normal(size=(3, 200)))
    assert of_draws(0.9, np.concatenate([draws, np.full((3, 1), np.nan)], axis=1)) == of_draws(0.9, draws)
