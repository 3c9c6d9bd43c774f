import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evqa.errors import RunError
from evqa.metrics import (
    METRICS,
    bootstrap,
    challenge,
    estimate_interval,
    holm,
    interval,
    paired_difference,
    smallest_detectable,
)
from evqa.metrics.paired import difference_of_draws
from evqa.metrics.resampling import counts
from evqa.metrics.score_table import read_rows
from evqa.reporting.comparing import compare
from evqa.reporting.decisions import decide
from evqa.reporting.document import TableBlock
from evqa.reporting.pages import compose
from evqa.reporting.runs import read_run
from evqa.reporting.sentences import method, verdicts
from evqa.reporting.slices import NUM_RESAMPLES, by_error, score_slice, slices
from evqa.reporting.study import pool
from evqa.reporting.writing import to_json


def study_of(folders, *, baseline=None, metric="challenge", split="val"):
    runs = [read_run(folder, split=split) for folder in folders]
    return compare(pool(runs, split=split, metric=metric, num_resamples=500), baseline=baseline)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("runs")
    return [make_run(root, modal=modal, seed=seed) for modal in ("a", "v", "av") for seed in range(3)]


@pytest.fixture(scope="module")
def study(ablation):
    return study_of(ablation, baseline={"modal": "v"})


def test_resamples_are_drawn_once_for_all_runs_and_targets_of_the_same_data_read_once(ablation, monkeypatch):
    drawn, known, read = [], {}, []
    monkeypatch.setattr("evqa.metrics.resampling.counts", lambda *n, **of: (drawn.append(n), counts(*n, **of))[1])
    monkeypatch.setattr("evqa.reporting.runs.read_rows", lambda path: (read.append(path.name), read_rows(path))[1])
    runs = [read_run(folder, split="val", known=known) for folder in ablation]
    assert read.count("val.targets.csv") == 1
    assert all(run.items is runs[0].items for run in runs)
    study = pool(runs, split="val", num_resamples=100)
    assert drawn == [(120,)]
    decide(study)  # ranking the items of all settings, and pairs of the best one
    assert drawn == [(120,)] * 3


def test_seeds_are_pooled_by_setting_and_settings_ranked(study):
    assert [(one.name, len(one.runs)) for one in study.settings] == [("modal=av", 3), ("modal=a", 3), ("modal=v", 3)]
    best = study.best
    values = [challenge(scores, study.labels_N).value for scores in best.scores_SN]
    pooled = best.metrics["challenge"]
    assert pooled.of_seeds == pytest.approx(values)
    assert pooled.mean == pytest.approx(np.mean(values))
    assert pooled.spread == pytest.approx(np.std(values, ddof=1))
    assert pooled.low < pooled.mean < pooled.high


def test_hearing_and_seeing_beats_seeing_with_an_interval_that_excludes_zero(study):
    comparison = next(one for one in study.comparisons if one.first == "modal=av")
    assert comparison.second == "modal=v"
    assert comparison.difference.low > 0
    assert comparison.difference.p < 0.05
    assert comparison.raw_p <= comparison.difference.p
    assert "modal=av is better than modal=v: +0.2" in " ".join(verdicts(study))


@pytest.fixture(scope="module")
def close_settings(tmp_path_factory, make_run):
    """Three settings of one run each, told apart with p of about 0.07, 0.004 and 0.008."""
    root = tmp_path_factory.mktemp("close")
    noises = {"r4": 0.04, "r8": 0.06, "r16": 0.07}
    return study_of(
        [
            make_run(root, seed=seed, noise=noise, name=rank, overrides=[f"lora={rank}"])
            for seed, (rank, noise) in enumerate(noises.items())
        ]
    )


def test_several_comparisons_have_the_p_values_of_a_family_by_holm(close_settings):
    scores = {one.name: one.scores_SN[0] for one in close_settings.settings}
    alone = [
        paired_difference(scores[one.first], scores[one.second], close_settings.labels_N, num_resamples=500).p
        for one in close_settings.comparisons
    ]
    assert len(set(alone)) == 3
    assert [one.raw_p for one in close_settings.comparisons] == pytest.approx(alone)
    by_hand = {min(alone): 3 * min(alone), sorted(alone)[1]: 2 * sorted(alone)[1], max(alone): max(alone)}
    assert [one.difference.p for one in close_settings.comparisons] == pytest.approx([by_hand[p] for p in alone])
    assert [one.items_only.p for one in close_settings.comparisons] == pytest.approx([by_hand[p] for p in alone])


def test_the_noise_of_training_changes_nothing_about_holms_correction(study):
    family = study.comparisons
    assert [one.difference.p for one in family] == pytest.approx(holm([one.raw_p for one in family]))
    assert all(one.difference.p >= one.raw_p for one in family)
    assert any(one.difference.p > one.raw_p for one in family)


def test_a_report_shows_and_records_both_p_values(close_settings):
    family = close_settings.comparisons
    table = next(b for b in compose(close_settings, {}) if isinstance(b, TableBlock) and "p (Holm)" in b.columns)
    for column, values in (("p", [one.raw_p for one in family]), ("p (Holm)", [one.difference.p for one in family])):
        shown = [float(row[table.columns.index(column)].replace("<0.0001", "0")) for row in table.rows]
        assert shown == pytest.approx(values, rel=0.05, abs=1e-4)
    recorded = [(one["p"], one["p_holm"]) for one in to_json(close_settings)["comparisons"]]
    assert recorded == [(one.raw_p, one.difference.p) for one in family]
    of_items = [(one["items_only"]["p"], one["items_only"]["p_holm"]) for one in to_json(close_settings)["comparisons"]]
    assert of_items == [(one.items_raw_p, one.items_only.p) for one in family]
    assert of_items == recorded  # of single runs both are of items alone


def test_a_comparison_of_single_runs_is_the_plain_paired_bootstrap(tmp_path, make_run):
    study = study_of([make_run(tmp_path, modal="av"), make_run(tmp_path, modal="v")])
    (comparison,) = study.comparisons
    scores = {one.name: one.scores_SN[0] for one in study.settings}
    expected = paired_difference(scores["modal=av"], scores["modal=v"], study.labels_N, num_resamples=500)
    assert comparison.difference == expected == comparison.items_only
    assert comparison.freedom == 0
    assert any("Too few seeds to know the noise of training" in note for note in study.notes)


def test_the_noise_of_training_widens_a_comparison(tmp_path, make_run):
    folders = [make_run(tmp_path, modal=modal, seed=s, noise=0.1 + s / 4) for modal in ("a", "v") for s in range(3)]
    study = study_of(folders)
    (comparison,) = study.comparisons
    assert comparison.freedom == 4
    shift = study.seed_spread * math.sqrt(2 / 3)
    expected = math.hypot(comparison.items_only.standard_error, shift)
    assert comparison.difference.standard_error == pytest.approx(expected)
    detectable = smallest_detectable(comparison.items_only.standard_error, shift=shift, freedom=4)
    assert comparison.difference.detectable == pytest.approx(detectable)
    assert detectable > 2.8016 * expected
    width, items = (one.high - one.low for one in (comparison.difference, comparison.items_only))
    assert width > items


def test_the_spread_over_seeds_is_pooled_by_degrees_of_freedom(tmp_path, make_run):
    seeds = [("a", 0), ("a", 1), ("a", 2), ("v", 0), ("v", 1), ("av", 0)]
    study = study_of([make_run(tmp_path, modal=modal, seed=seed, noise=0.2 + seed / 5) for modal, seed in seeds])
    spreads = {one.name: one.metrics["challenge"].spread for one in study.settings}
    by_hand = math.sqrt((2 * spreads["modal=a"] ** 2 + 1 * spreads["modal=v"] ** 2) / 3)
    assert study.freedom == 3
    assert study.seed_spread == pytest.approx(by_hand)
    assert not any("Too few seeds" in note for note in study.notes)


@pytest.mark.parametrize(("num_seeds", "freedom"), [(2, 0), (3, 2)])
def test_one_degree_of_freedom_is_no_knowledge_and_two_are(tmp_path, make_run, num_seeds, freedom):
    folders = [make_run(tmp_path, modal="a", seed=seed) for seed in range(num_seeds)]
    study = study_of([*folders, make_run(tmp_path, modal="v")])
    assert study.freedom == freedom
    assert math.isnan(study.seed_spread) == (freedom == 0)
    assert (
        "Too few seeds to know the noise of training: intervals of differences are about items only. A difference of "
        "single runs may be luck of the seed; run more seeds." in study.notes
    ) == (freedom == 0)
    assert {one.freedom for one in study.comparisons} == {freedom}


def test_a_comparison_is_of_mean_draws_and_a_t_distributed_shift(study):
    settings = {one.name: one for one in study.settings}
    for one in study.comparisons:
        first, second = settings[one.first], settings[one.second]
        draws = first.mean_draws("challenge") - second.mean_draws("challenge")
        items = difference_of_draws(first.metrics["challenge"].mean - second.metrics["challenge"].mean, draws)
        of_two = smallest_detectable(items.standard_error, family=2)
        assert replace(one.items_only, p=items.p) == replace(items, detectable=of_two)
        shift = study.seed_spread * math.sqrt(2 / 3)
        sampled = draws[:, None] + np.random.default_rng(1).standard_t(6, size=(len(draws), 400)) * shift
        assert (one.difference.low, one.difference.high) == pytest.approx(
            np.quantile(sampled, [0.025, 0.975]), abs=0.06 * one.difference.standard_error
        )
        assert one.raw_p == pytest.approx(2 * min((sampled < 0).mean(), (sampled > 0).mean()), rel=0.2, abs=2e-3)
        assert set(one.others) == {"srocc", "plcc", "krocc", "rmse"}
        for name, ends in one.others.items():
            assert ends == interval(first.mean_draws(name) - second.mean_draws(name))
        assert (one.shared, one.freedom) == ("", 6)


def test_a_pair_of_seeds_is_of_their_draws_by_items_alone(study):
    settings = {one.name: one for one in study.settings}
    assert [(one.first, one.second) for one in study.seed_pairs[:3]] == [("0", "1"), ("0", "2"), ("1", "2")]
    assert [one.difference.p for one in study.seed_pairs] == pytest.approx(
        holm([one.raw_p for one in study.seed_pairs])
    )
    for one in study.seed_pairs:
        setting = settings[one.setting]
        draws = setting.draws["challenge"][int(one.first)] - setting.draws["challenge"][int(one.second)]
        pooled = setting.metrics["challenge"]
        items = difference_of_draws(pooled.of_seeds[int(one.first)] - pooled.of_seeds[int(one.second)], draws)
        assert replace(one.difference, p=items.p) == items
        assert one.raw_p == items.p


def test_all_pairs_of_up_to_six_settings_are_compared_and_no_pair_of_seven(tmp_path, make_run):
    folders = [make_run(tmp_path, name=f"r{rank}", overrides=[f"lora=r{rank}"], n=30) for rank in range(7)]
    six = study_of(folders[:6])
    assert len(six.comparisons) == 15
    assert not any("too many" in note for note in six.notes)
    study = study_of(folders)
    assert study.comparisons == ()
    assert "7 settings are too many to compare all pairs; name a --baseline." in study.notes
    against_one = study_of(folders, baseline={"lora": "r3"})
    assert len(against_one.comparisons) == 6
    assert not any("too many" in note for note in against_one.notes)


def test_each_setting_is_compared_with_the_baselines_counterpart(tmp_path, make_run):
    folders = [
        make_run(tmp_path, modal=modal, name=f"{modal}-{rank}", overrides=[f"modal={modal}", f"lora={rank}"])
        for modal in ("v", "av")
        for rank in ("none", "r16")
    ]
    study = study_of(folders, baseline={"modal": "v"})
    pairs = {(one.first, one.second, one.shared) for one in study.comparisons}
    assert pairs == {("modal=av", "modal=v", "lora=none"), ("modal=av", "modal=v", "lora=r16")}
    said = "The modal=av run (seed 0) is better than the modal=v run (seed 0) (both lora=r16) on these items: +0.2"
    assert said in " ".join(verdicts(study))
    assert len(study_of(folders).comparisons) == 6


def test_a_wrong_baseline_names_the_choices(ablation):
    with pytest.raises(RunError, match=r"^--baseline modal=x: among the finished runs 'modal' has a, av, v\.$"):
        study_of(ablation, baseline={"modal": "x"})
    with pytest.raises(RunError, match=r"'lora' is no axis; axes are modal\.$"):
        study_of(ablation, baseline={"lora": "none"})
    with pytest.raises(RunError, match=r"'lora' is no axis; axes are none\.$"):
        study_of(ablation[:1], baseline={"lora": "none"})


def test_only_items_that_all_have_are_compared_and_that_is_said(tmp_path, make_run):
    whole, short = make_run(tmp_path, modal="av"), make_run(tmp_path, modal="v")
    file = short / "predictions" / "val.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-20]) + "\n")
    record = json.loads(file.with_suffix(".json").read_text())
    file.with_suffix(".json").write_text(json.dumps({**record, "n": 100}))
    study = study_of([whole, short])
    assert len(study.ids) == 100
    assert any("has scores for 20 items that not all runs have" in note for note in study.notes)


def test_without_labels_the_runs_own_records_are_shown(tmp_path, make_run):
    study = study_of([make_run(tmp_path, modal=modal, targets=False) for modal in ("av", "v")])
    assert (study.ids, study.comparisons, study.seed_pairs) == ((), (), ())
    assert study.best.name == "modal=av"
    assert study.best.metrics["srocc"].low < study.best.metrics["srocc"].mean
    assert any("No labels are known" in note for note in study.notes)


def test_runs_that_cannot_be_reported_together_are_refused(tmp_path, make_run):
    with pytest.raises(RunError, match="No run has predictions for 'val'"):
        study_of([make_run(tmp_path, finished=False)])
    first, other = make_run(tmp_path, seed=1), make_run(tmp_path, seed=2, n=60)
    with pytest.raises(RunError, match="different labels for clip_0000; give the right ones with --labels"):
        study_of([first, other])
    with pytest.raises(RunError, match="--metric rmse: settings are compared by srocc, plcc, krocc, challenge"):
        study_of([first], metric="rmse")


def test_constant_scores_are_reported_with_their_reason(tmp_path, make_run):
    folder = make_run(tmp_path, modal="v")
    lines = (folder / "predictions" / "val.csv").read_text().splitlines()
    (folder / "predictions" / "val.csv").write_text(
        "\n".join([lines[0], *(f"{x.split(',')[0]},0.5" for x in lines[1:])]) + "\n"
    )
    study = study_of([folder, make_run(tmp_path, modal="v", seed=1), make_run(tmp_path, modal="av")])
    assert study.seed_pairs[0].difference.reason == "all 120 scores are equal (0.5)"
    assert study.settings[-1].metrics["challenge"].reason == "all 120 scores are equal (0.5)"
    assert study.comparisons[0].difference.reason == "all 120 scores are equal (0.5)"
    assert "cannot be compared: all 120 scores are equal" in " ".join(verdicts(study))


def test_slices_cover_duration_sound_text_and_label_deciles(study):
    parts = slices(study)
    assert list(dict.fromkeys(part.family for part in parts)) == ["duration", "sound", "text", "label decile"]
    for family in ("duration", "sound", "label decile"):
        assert sum(len(part.places_K) for part in parts if part.family == family) == 120
    (score,) = score_slice(study, [study.best], parts[-1])
    errors = study.best.scores_SN[:, parts[-1].places_K] - study.labels_N[parts[-1].places_K]
    assert (score.n, score.bias) == (12, pytest.approx(errors.mean()))
    by_scipy = stats.ttest_1samp(errors.mean(axis=0), 0).confidence_interval()
    assert (score.bias_interval.low, score.bias_interval.high) == pytest.approx(tuple(by_scipy))
    twice = replace(parts[-1], places_K=np.repeat(parts[-1].places_K, 2))
    grouped = replace(study, items=tuple(replace(item, group=str(place)) for place, item in enumerate(study.items)))
    (of_groups,) = score_slice(grouped, [study.best], twice)
    assert of_groups.bias_interval.low == pytest.approx(by_scipy.low)
    (alone,) = score_slice(study, [study.best], replace(parts[-1], places_K=parts[-1].places_K[:1]))
    assert math.isnan(alone.bias_interval.low)


def test_a_part_that_holds_all_items_is_no_part(study):
    everywhere = tuple(replace(item, has_audio=True, tags={"codec": "h264"}) for item in study.items)
    parts = slices(replace(study, items=everywhere))
    assert [part.family for part in parts if part.family in ("sound", "codec")] == []
    few = replace(study, items=everywhere[:5], labels_N=study.labels_N[:5])
    bare = replace(
        few, items=tuple(replace(item, duration=1.0, title_chars=1, description_chars=1) for item in few.items)
    )
    assert slices(bare) == []
    assert not any(
        getattr(block, "caption", "").startswith("All parts") for block in compose(replace(bare, ids=()), {})
    )


def test_items_are_ranked_by_their_error(study):
    errors = [abs(one.error) for one in by_error(study, study.best)]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 120


def test_ecr_is_not_called_a_probability(study):
    text = " ".join(method(study))
    assert "normalised rank" in text
    assert "probability" not in text.lower()


def test_every_metric_is_pooled(study):
    assert all(set(one.metrics) == set(METRICS) for one in study.settings)


def test_tags_beside_the_scores_cut_the_items_by_their_most_frequent_values(tmp_path, make_run):
    folder = make_run(tmp_path)
    path = folder / "predictions" / "val.targets.csv"
    header, *lines = path.read_text().splitlines()
    rows = [f"{line},{('h264', 'vp9', '')[place % 3]},{place}" for place, line in enumerate(lines)]
    path.write_text("\n".join([f"{header},codec,creator", *rows]) + "\n")
    parts = slices(study_of([folder, make_run(tmp_path, seed=1)]))
    sizes = {part.name: len(part.places_K) for part in parts if part.family == "codec"}
    assert sizes == {"h264": 40, "vp9": 40}
    assert sum(part.family == "creator" for part in parts) == 10


def test_groups_beside_the_scores_are_drawn_whole_and_counted_wherever_an_interval_stands(tmp_path, make_run):
    folders = [make_run(tmp_path, modal=modal, n=60) for modal in ("v", "av")]
    plain = study_of(folders)
    for folder in folders:
        path = folder / "predictions" / "val.targets.csv"
        header, *lines = path.read_text().splitlines()
        rows = [f"{line},{f'creator {place // 4}' if place < 56 else ''}" for place, line in enumerate(lines)]
        path.write_text("\n".join([f"{header},group", *rows]) + "\n")
    found = study_of(folders)
    assert (plain.size, plain.units, found.size, found.units) == (
        "60 items",
        "items",
        "60 items in 18 groups",
        "groups",
    )
    groups = [f"creator {place // 4}" if place < 56 else None for place in range(60)]
    for setting in found.settings:
        draws = bootstrap(setting.scores_SN[0], found.labels_N, groups=groups, num_resamples=500)
        assert all(np.array_equal(setting.draws[name][0], draws[name]) for name in METRICS)
        pooled = setting.metrics["srocc"]
        ends = estimate_interval("srocc", pooled.mean, draws["srocc"], num_units=18)
        assert (pooled.low, pooled.high) == (ends.low, ends.high)
    whole = replace(slices(found)[0], places_K=np.arange(60))
    draws = bootstrap(
        found.best.scores_SN[0], found.labels_N, metrics=("srocc",), groups=groups, num_resamples=NUM_RESAMPLES
    )["srocc"]
    assert score_slice(found, [found.best], whole)[0].interval == estimate_interval(
        "srocc", found.best.metrics["srocc"].mean, draws, num_units=18
    )
    text = str(compose(found, {}))
    assert "n = 60 items in 18 groups. Means over seeds; intervals over groups." in text
    assert not {"codec", "group"} & {part.family for part in slices(found)}
