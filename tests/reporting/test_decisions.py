"""What users act on, in a report: the numbers are those of the pure functions, of the settings that are shown."""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from evqa.metrics import RANKING, pairwise_by_gap, share_interval
from evqa.metrics.ranking import num_judged, ranking_draws
from evqa.report import main
from evqa.reporting.decisions import GAPS, decide, decision_blocks
from evqa.reporting.plots import MAX_SETTINGS
from evqa.reporting.runs import read_run
from evqa.reporting.study import pool


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("runs")
    return [make_run(root, modal=modal, seed=seed, noise=0.2) for modal in ("v", "av") for seed in range(2)]


def study_of(folders, **changed):
    return replace(pool([read_run(one, split="val") for one in folders], split="val", num_resamples=60), **changed)


def test_measures_are_means_over_seeds_with_intervals_over_items_or_groups(folders):
    plain = study_of(folders)
    items = tuple(replace(item, group=f"creator {place // 4}") for place, item in enumerate(plain.items))
    for study, num_units in ((plain, 120), (replace(plain, items=items), 30)):
        setting = study.best
        draws = ranking_draws(list(setting.scores_SN), study.labels_N, setting.draws["krocc"], groups=study.groups)
        for name, found in decide(study).settings[setting.name].items():
            value = np.mean([RANKING[name](scores_N, study.labels_N).value for scores_N in setting.scores_SN])
            judged = num_judged(study.labels_N)[name] * num_units / 120
            ends = share_interval(value, (draws[0][name] + draws[1][name]) / 2, num_units=num_units, num_judged=judged)
            assert (found.value, found.low, found.high) == pytest.approx((value, ends.low, ends.high))
            assert found.low < found.value < found.high


def test_pairs_of_the_best_setting_are_cut_by_the_distance_of_their_labels(folders):
    study = study_of(folders)
    gaps = decide(study).gaps
    edges = np.array(GAPS) * study.labels_N.std()
    assert [(one.least, one.most) for one in gaps] == [*pairwise(edges)]
    of_seeds = [pairwise_by_gap(scores_N, study.labels_N, edges=edges) for scores_N in study.best.scores_SN]
    expected = [np.mean([one.value for one in ones]) for ones in zip(*of_seeds, strict=True)]
    assert [one.in_order.value for one in gaps] == pytest.approx(expected)
    assert expected == sorted(expected)
    assert all(one.in_order.low < one.in_order.value for one in gaps)


def test_a_report_has_the_section_and_its_numbers_for_machines(folders, tmp_path):
    assert main([*map(str, folders), "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "report.json").read_text())["decisions"]
    assert set(numbers["settings"]) == {"modal=av", "modal=v"}
    assert numbers["by_chance"]["precision_10"] == pytest.approx(0.1)
    assert set(numbers["settings"]["modal=v"]) == set(numbers["by_chance"]) == set(RANKING)
    assert (len(numbers["gaps"]), numbers["gaps"][-1]["most"]) == (4, None)
    pairs = numbers["settings"]["modal=av"]["pairwise"]
    text = (tmp_path / "report.md").read_text()
    shown = f"| modal=av | {pairs['value']:.3f} ({pairs['low']:.3f} to {pairs['high']:.3f}) |"
    assert text.count("## What users act on") == text.count(shown) == 1
    assert re.search(r"\| by chance \| 0\.500 \| 0\.100 \| 0\.200 \| 0\.\d{3} \| 0\.500 \|", text)


def test_only_shown_settings_are_computed_and_the_others_are_counted(tmp_path, make_run):
    made = [make_run(tmp_path, name=f"r{n}", overrides=[f"lora=r{n}"], n=40) for n in range(MAX_SETTINGS + 1)]
    study = study_of(made)
    decisions = decide(study)
    assert len(decisions.settings) == MAX_SETTINGS
    assert decision_blocks(study, decisions)[1].caption.endswith(
        f" Shown are {MAX_SETTINGS} of {MAX_SETTINGS + 1} settings: the best."
    )


def test_what_has_no_value_is_a_dash_with_its_reason_in_the_numbers_and_no_labels_no_section(folders):
    study = study_of(folders[:1])
    flat = replace(study.best, scores_SN=np.full((1, 120), 0.5), draws={"krocc": (np.full(60, math.nan),)})
    study = replace(study, settings=(flat,))
    decisions = decide(study)
    assert {one.reason for one in decisions.settings["all runs"].values()} == {"all 120 scores are equal (0.5)"}
    assert decision_blocks(study, decisions)[1].rows[0] == ("all runs", *"-----")
    assert [one.in_order.reason for one in decisions.gaps] == ["all 120 scores are equal (0.5)"] * 4
    assert decide(replace(study, ids=())) is None
