import json
from dataclasses import replace

import numpy as np
import pytest

from evqa.metrics import holm
from evqa.report import main
from evqa.reporting.comparing import compare
from evqa.reporting.equivalence import equivalence_blocks, equivalence_json, equivalence_sentences, equivalences
from tests.simulations.comparisons import draw_study

TWO, FOUR = [0.7, 0.7], [0.7, 0.7, 0.7, 0.7]


def study_of(truths, *, num_seeds=3, noise=0.01, n=200):
    plain = draw_study(np.random.default_rng(3), truths, num_seeds=num_seeds, noise=noise, n=n, num_resamples=300)
    return compare(plain, baseline={"setting": f"s{len(truths) - 1}"})


def border(study):
    """The margin at which the 90 % interval of the first comparison just lies inside."""
    one = equivalences(study, margin=0.1).tests[0]
    return max(-one.low, one.high)


def test_the_sentence_turns_at_the_border_of_the_interval():
    study = study_of(TWO)
    edge = border(study)
    (shown,), (not_shown,) = (
        equivalence_sentences(study, equivalences(study, margin=margin)) for margin in (edge + 1e-4, edge - 1e-4)
    )
    assert shown.startswith(f"setting=s0 and setting=s1 are equivalent within {edge + 1e-4:g}: ")
    assert " lies inside), p " in shown
    assert not_shown.startswith(f"Equivalence of setting=s0 and setting=s1 within {edge - 1e-4:g} was not shown: ")
    assert "lies inside" not in not_shown
    assert "(90 % interval [" in not_shown


def test_single_runs_are_equivalent_as_these_runs_alone():
    study = study_of(TWO, num_seeds=1, noise=0.0)
    (said,) = equivalence_sentences(study, equivalences(study, margin=0.5))
    assert said.startswith("The setting=s0 run (seed 0) and the setting=s1 run (seed 0) are equivalent within 0.5 on")
    assert said.endswith(" Another seed may turn it.")


def test_the_family_is_that_of_the_comparisons_and_an_interval_inside_may_not_be_enough():
    study = study_of(FOUR)
    margin = border(study) + 1e-4
    found = equivalences(study, margin=margin)
    assert [one.p for one in found.tests] == holm([one.raw_p for one in found.tests])
    assert found.tests[0].raw_p < 0.05
    sentences = equivalence_sentences(study, found)
    assert len(sentences) == 3
    assert all("(Holm, 3 comparisons)" in one for one in sentences)
    (_, table) = equivalence_blocks(study, found)
    for one, row, numbers, said in zip(
        found.tests, table.rows, equivalence_json(found)["tests"], sentences, strict=True
    ):
        assert row[-1] == ("shown" if one.is_shown else "not shown")
        assert numbers["shown"] == one.is_shown == (numbers["p_holm"] < 0.05) == ("are equivalent" in said)
    widest = max(found.tests, key=lambda one: one.raw_p)
    edge = max(-widest.low, widest.high)
    at_edge = equivalences(study, margin=edge + 1e-4)
    worst = max(at_edge.tests, key=lambda one: one.raw_p)
    assert worst.is_shown == (worst.raw_p == worst.p < 0.05)  # the last one of Holm's steps is not multiplied


def test_the_noise_of_training_is_in_the_interval():
    study = study_of(TWO, noise=0.05)
    (with_seeds,) = equivalences(study, margin=0.1).tests
    without = replace(study, comparisons=tuple(replace(one, freedom=0, shift=0.0) for one in study.comparisons))
    (items_only,) = equivalences(without, margin=0.1).tests
    assert with_seeds.high - with_seeds.low > 1.2 * (items_only.high - items_only.low)


def test_few_items_and_single_settings_are_not_tested():
    few = study_of(TWO, n=29)
    assert equivalence_sentences(few, equivalences(few, margin=0.1)) == [
        "Equivalence within 0.1 was not tested: 29 items are too few, a test needs 30."
    ]
    alone = compare(draw_study(np.random.default_rng(0), [0.7], num_seeds=1, noise=0.0, n=60, num_resamples=50))
    (said,) = equivalence_sentences(alone, equivalences(alone, margin=0.1))
    assert said == "Equivalence within 0.1 was not tested: no two settings are compared."
    assert equivalence_blocks(alone, equivalences(alone, margin=0.1)) == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("runs")
    for modal in ("v", "av"):
        for seed in range(2):
            make_run(root, modal=modal, seed=seed)
    return root


def test_the_flags_add_sentences_tables_and_numbers_and_nothing_without_them(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("evqa.reporting.writing.draw_all", lambda *_, **__: {})
    common = [str(runs), "--baseline", "modal=v", "--out"]
    assert main([*common, str(tmp_path / "plain")]) == 0
    capsys.readouterr()
    assert main([*common, str(tmp_path / "tested"), "--margin", "0.5", "--plan", "0.05"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "- modal=av and modal=v are equivalent within 0.5: " in printed
    assert "- To see a difference of 0.05 in 0.6 SROCC + 0.4 PLCC with 80 % probability: " in printed
    plain, tested = ((tmp_path / name / "report.md").read_text() for name in ("plain", "tested"))
    assert "## Equivalence within 0.5" in tested
    assert "## Planning: what a difference of 0.05 needs" in tested
    assert "quivalen" not in plain
    assert "Planning" not in plain
    numbers, both = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("plain", "tested"))
    assert set(both) - set(numbers) == {"equivalence", "plan"}
    assert both["equivalence"]["tests"][0]["shown"] is True
    assert both["plan"]["difference"] == 0.05
    assert both["plan"]["noise"]["num_seeds"] == 2


@pytest.mark.parametrize("flag", ["--margin", "--plan"])
@pytest.mark.parametrize("value", ["-0.01", "0", "nan", "inf", "1", "small"])
def test_a_margin_that_is_none_is_a_sentence(flag, value, runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main([str(runs), "--out", str(tmp_path), flag, value])
    assert end.value.code == 2
    said = f"argument {flag}: {value}: give a difference of the metric, above 0 and below 1, as in 0.01"
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("flag", ["--margin", "--plan"])
def test_medians_over_repeats_take_neither_flag(flag, runs, tmp_path, capsys):
    assert main([str(runs), "--out", str(tmp_path), "--repeats", flag, "0.01"]) == 2
    assert f"{flag}: --repeats writes medians" in capsys.readouterr().err
