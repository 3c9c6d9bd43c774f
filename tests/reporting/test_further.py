"""Interactions with tags and baselines: what is tested, what it must equal, and every sentence at its border."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evqa.metrics import METRICS
from evqa.report import main
from evqa.reporting.baselines import baseline_sentences, baselines
from evqa.reporting.comparing import compare
from evqa.reporting.further import examine, further_blocks, interaction_sentences
from evqa.reporting.interactions import Interactions, find_parts, interactions
from evqa.reporting.runs import read_run
from evqa.reporting.study import pool
from tests.simulations.interactions import draw_tagged_study, find


def tagged(root, make_run, columns, *, n=120, modals=("v", "av"), num_seeds=1, sound_helps_in=None):
    """Runs whose items have these tags (values by column); where asked, av's scores are spoilt but in one category."""
    folders = [make_run(root, modal=modal, seed=seed, n=n) for modal in modals for seed in range(num_seeds)]
    for folder in folders:
        path = folder / "predictions" / "val.targets.csv"
        header, *lines = path.read_text().splitlines()
        rows = [",".join([line, *(values[place] for values in columns.values())]) for place, line in enumerate(lines)]
        path.write_text("\n".join([",".join([header, *columns]), *rows]) + "\n")
        if sound_helps_in and "-av-" in folder.name:
            spoil(folder, [value != sound_helps_in for value in columns["category"]])
    return folders


def spoil(folder, where):
    path, rng = folder / "predictions" / "val.csv", np.random.default_rng(0)
    header, *lines = path.read_text().splitlines()
    ids, scores = zip(*(line.split(",") for line in lines), strict=True)
    noisy = [float(score) + 0.5 * rng.normal() * bad for score, bad in zip(scores, where, strict=True)]
    path.write_text("\n".join([header, *(f"{id_},{score!r}" for id_, score in zip(ids, noisy, strict=True))]) + "\n")


def study_of(folders, **options):
    return compare(pool([read_run(one, split="val") for one in folders], split="val", num_resamples=200), **options)


def every(*values, n=120):
    return [values[place % len(values)] for place in range(n)]


def test_columns_of_two_to_twelve_large_values_are_tested_and_others_named(tmp_path, make_run):
    columns = {
        "category": every("music", "news", "sport"),
        "codec": every("h264", "vp9"),
        "creator": [f"c{place // 10}" for place in range(120)],
        "known": ["music" if place < 60 else "" for place in range(120)],
        "some": ["x"] * 40 + ["y"] * 40 + [""] * 30 + ["z"] * 10,
    }
    parts, left_out = find_parts(study_of(tagged(tmp_path, make_run, columns)))
    sizes = {(one.column, one.value): (one.inside_N.sum(), one.outside_N.sum(), one.elsewhere) for one in parts}
    assert sizes == {
        **{("category", value): (40, 80, None) for value in ("music", "news", "sport")},
        ("codec", "h264"): (60, 60, "vp9"),
        ("some", "x"): (40, 50, None),
        ("some", "y"): (40, 50, None),
    }
    assert left_out == [
        "creator: 0 of its 12 values have 30 items or more, 2 to 12 are needed",
        "known: 1 of its 1 values have 30 items or more, 2 to 12 are needed",
    ]


def test_an_interaction_is_the_difference_of_differences_by_the_paired_bootstrap(tmp_path, make_run):
    study = study_of(tagged(tmp_path, make_run, {"category": every("music", "news", "sport")}))
    one, (first, second) = interactions(study, num_resamples=500).found[0], study.settings
    inside_N = np.arange(120) % 3 == 0

    def gain(places):
        of_both = (METRICS["challenge"](one.scores_SN[0, places], study.labels_N[places]) for one in (first, second))
        return float(np.subtract(*map(float, of_both)))

    def gap(places):
        return gain(places[inside_N[places]]) - gain(places[~inside_N[places]])

    assert one.difference.value == pytest.approx(gap(np.arange(120)))
    by_label, rng = np.argsort(study.labels_N, kind="stable"), np.random.default_rng(0)
    draws = [gap(drawn) for drawn in by_label[rng.integers(0, 120, (500, 120))]]
    assert (one.difference.low, one.difference.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_sound_that_helps_in_music_alone_is_a_sentence_everywhere(tmp_path, make_run, capsys):
    columns = {"category": every("music", "[b]news", "sport", n=300)}
    folders = tagged(tmp_path, make_run, columns, n=300, modals=("a", "v", "av"), num_seeds=2, sound_helps_in="music")
    assert main([*map(str, folders), "--baseline", "modal=v", "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "modal=av less modal=v is higher where category=music (+0." in said
    assert "(Holm, 6 interactions)." in said
    found = json.loads((tmp_path / "out" / "report.json").read_text())["interactions"]
    assert {(one["first"], one["value"]) for one in found} == {
        (f"modal={modal}", value) for modal in ("a", "av") for value in ("music", "[b]news", "sport")
    }
    assert all(one["p"] <= one["p_holm"] and one["freedom"] == 3 and one["shift"] > 0 for one in found)
    assert "Differences by tag" in (tmp_path / "out" / "report.html").read_text()


def test_the_sentence_of_an_interaction_at_its_border(tmp_path, make_run):
    study = study_of(tagged(tmp_path, make_run, {"codec": every("h264", "vp9")}))
    (one,) = interactions(study).found

    def said(p, times=1, **fields):
        numbers = replace(one.difference, value=-0.04, low=-0.07, high=-0.01, p=p, reason=None)
        each = replace(one, inside=0.02, outside=0.06, difference=numbers, **fields)
        return interaction_sentences(Interactions(found=(each,) * times, num_pairs=1))

    where = "modal=av less modal=v is lower where codec=h264 (+0.020) than where codec=vp9 (+0.060)"
    assert said(0.0499) == [f"{where}: -0.040 [-0.070, -0.010], p < 0.05. Another seed may turn it."]
    assert said(0.01, freedom=2) == [f"{where}: -0.040 [-0.070, -0.010], p = 0.01."]
    assert said(0.05, times=2) == [
        "No interaction was shown: differences between settings were not seen to depend on codec (2 interactions, "
        "Holm; smallest p = 0.05)."
    ]
    assert interaction_sentences(Interactions()) == []


def test_more_pairs_than_three_are_not_tested_and_that_is_said(tmp_path, make_run):
    columns = {"codec": every("h264", "vp9")}
    given = [(modal, lora) for modal in ("a", "v", "av") for lora in ("none", "r8")]
    for modal, lora in given:
        overrides = [f"modal={modal}", f"lora={lora}", "seed=0"]
        make_run(tmp_path, modal=modal, noise=0.02 + 0.1 * (lora == "r8"), name=f"{modal}-{lora}", overrides=overrides)
    folders = sorted((tmp_path / "audio_ablation").iterdir())
    study = study_of(folders)
    items = tuple(
        replace(item, tags={"codec": value}) for item, value in zip(study.items, columns["codec"], strict=True)
    )
    study = replace(study, items=items)
    further = examine(study)
    assert len(further.interactions.found) == 3
    assert "of the first 3 of 15 comparisons" in str(further_blocks(study, further))


def test_interactions_are_rarely_found_where_none_is_true_and_large_ones_are():
    case = {"num_parts": 4, "num_seeds": 1, "noise": 0.0, "n": 160}
    assert find(50, **case)[0] < 0.15  # 5 % expected
    assert find(15, extra=0.25, **case)[1] > 0.7


def test_groups_are_drawn_whole_on_both_sides():
    case = {"num_parts": 2, "num_seeds": 1, "noise": 0.0, "n": 80}
    rngs = np.random.default_rng(0), np.random.default_rng(0)
    copied, plain = (draw_tagged_study(rng, **case, copies=copies) for rng, copies in zip(rngs, (3, 1), strict=True))
    errors = [interactions(one).found[0].items_error for one in (copied, plain)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


@pytest.fixture
def study(tmp_path, make_run):
    return study_of([make_run(tmp_path, modal=modal) for modal in ("v", "av")])


def with_items(study, change):
    items = tuple(replace(item, **change(place, item)) for place, item in enumerate(study.items))
    return replace(study, items=items)


def test_baselines_are_the_mean_label_and_what_is_known_of_each_item(study):
    found = {one.name: one for one in baselines(study)}
    assert list(found) == ["mean label", "duration", "title length", "row order"]
    assert found["mean label"].metrics["rmse"].value == pytest.approx(np.std(study.labels_N))
    for metric in ("srocc", "plcc"):
        seconds = METRICS[metric]([item.duration for item in study.items], study.labels_N).value
        rows = METRICS[metric](range(120), study.labels_N).value
        assert found["duration"].metrics[metric].value == pytest.approx(seconds)
        assert found["row order"].metrics[metric].value == pytest.approx(rows)
    assert baseline_sentences(study, tuple(found.values())) == []
    half = with_items(study, lambda place, _: {"duration": 1.0 * place if place % 2 else None, "title_chars": None})
    assert [(one.name, one.n) for one in baselines(half)][1:] == [("duration", 60), ("row order", 120)]
    same = with_items(study, lambda *_: {"title_chars": 0})
    assert "all 120 values are equal (0)" in str(further_blocks(same, examine(same)))


def test_a_baseline_that_reaches_the_best_setting_is_a_sentence(study):
    low = study.best.metrics["srocc"].low
    order = np.argsort(np.argsort(-study.labels_N))
    told = with_items(study, lambda place, _: {"duration": float(order[place])})
    (said,) = baseline_sentences(told, baselines(told))
    assert said.startswith("Baseline: the duration alone has SROCC -1.000 [-1.000, -1.000]")
    assert f", which reaches the interval of modal=av, {study.best.metrics['srocc'].mean:.3f} [{low:.3f}, " in said
    (duration,) = (one for one in baselines(study) if one.name == "duration")
    at = {
        value: replace(duration, metrics={"srocc": replace(duration.best, value=value)}) for value in (low, low - 1e-6)
    }
    assert [one.reaches for one in at.values()] == [True, False]
    assert baseline_sentences(replace(told, ids=told.ids[:29], items=told.items[:29]), (at[low],)) == []
    constant = replace(
        study.best, metrics={**study.best.metrics, "rmse": replace(study.best.metrics["rmse"], high=1.0)}
    )
    far = replace(study, settings=(constant, *study.settings[1:]))
    assert "the mean label alone has RMSE 0." in " ".join(baseline_sentences(far, baselines(far)))


def test_rows_in_the_order_of_the_labels_are_a_possible_leak(tmp_path, make_run):
    folder = make_run(tmp_path)
    path = folder / "predictions" / "val.targets.csv"
    header, *lines = path.read_text().splitlines()
    lines.sort(key=lambda line: float(line.split(",")[1]))
    path.write_text("\n".join([header, *lines[60:], *lines[:60]]) + "\n")
    study = study_of([folder])
    (said,) = baseline_sentences(study, baselines(study))
    assert said.startswith("Possible leak: the order of rows tells the label, SROCC -0.5")
    assert said.endswith(
        "Check that the names, numbers or sizes of files do not, and that rows of one source do not stand together."
    )
