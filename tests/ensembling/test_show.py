"""What is shown, recorded and written of an ensemble that is made by hand."""

import math
from dataclasses import asdict, replace
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from evqa.ensembling import Combination, Judgement, equal, prediction
from evqa.ensembling.gain import SAME
from evqa.ensembling.show import HELD, show
from evqa.metrics import Difference, Estimate, Evaluation


def evaluation(challenge, *, low=None, n=3):
    ends = {"low": math.nan, "high": math.nan} if low is None else {"low": low, "high": challenge + 0.1}
    estimates = {
        "challenge": Estimate(value=challenge, **ends),
        "srocc": Estimate(value=challenge + 0.01, low=math.nan, high=math.nan),
        "plcc": Estimate(value=challenge - 0.01, low=math.nan, high=math.nan),
    }
    return Evaluation(n=n, num_failed=0, num_unlabelled=0, metrics=estimates, extras={})


def difference(value, p, **more):
    return Difference(
        **{
            "value": value,
            "low": value - 0.01,
            "high": value + 0.02,
            "p": p,
            "standard_error": 0.01,
            "detectable": 0.03,
        }
        | more
    )


JUDGEMENT = Judgement(
    scores_N=np.array([0.1, 0.2, 0.3]),
    honest="out of fold, nested 3-fold cross-validation",
    members=(evaluation(0.5, low=0.4), evaluation(math.nan)),
    ensemble=evaluation(0.6, low=0.5),
    fitted=evaluation(0.7),
    best="[a]",
    gain=difference(0.1, 0.0123),
    chosen=evaluation(0.48, low=0.4),
    methods={
        "rank_mean": (evaluation(0.55), difference(0.05, 0.2, reason="none", low=math.nan, high=math.nan)),
        "stack": (evaluation(0.6, low=0.5), difference(0.1, 0.0123)),
    },
    added=(difference(0.02, 0.01), difference(-0.03, 0.04)),
    error_correlation_MM=np.array([[1.0, math.nan], [0.456, 1.0]]),
)
COMBINATION = Combination(method="stack", members=("[a]", "b"), weights=(3.0, -1.0))


def rendered(members, *, judgement=JUDGEMENT, combination=COMBINATION, notes=("[b]note",), **more):
    text = StringIO()
    show(
        members(label="[ECR]", **more),
        combination,
        judgement,
        notes=notes,
        written=[Path("[x]/out.csv")],
        console=Console(file=text, width=100, color_system=None, markup=False),
    )
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


@pytest.fixture
def shown(members):
    """The lines on the screen, without empty ones."""
    return partial(rendered, members)


def test_the_screen_shows_every_number_and_nothing_as_markup(shown):
    words = " ".join(line for line in shown() if not set(line) <= {"─"}).split()
    assert " ".join(words) == " ".join(
        [
            "Ensemble 'stack' of 2, n = 3",
            "challenge 95 % interval p SROCC PLCC",
            "ensemble 0.6000 0.5000 to 0.7000 0.6100 0.5900",
            "best member 0.4800 0.4000 to 0.5800 0.4900 0.4700",
            "gain over best member +0.1000 +0.0900 to +0.1200 0.012",
            "too good 0.7000 0.7100 0.6900",
            "Ensemble: out of fold, nested 3-fold cross-validation. Best member: chosen out of fold; on all labels it",
            "is [a].",
            "Too good: scored on the labels that the weights were fitted on.",
            "challenge: 0.6 SROCC + 0.4 PLCC.",
            "Every method: honest score, and gain over the best member",
            "method challenge 95 % interval gain 95 % interval p",
            "rank_mean 0.5500 none",
            "stack 0.6000 0.5000 to 0.7000 +0.1000 +0.0900 to +0.1200 0.012",
            "A method that is chosen by this table is chosen on these labels: no honest score is left.",
            HELD,
            "Members, and what each adds to the ensemble of the others",
            "member weight challenge adds 95 % interval p (Holm)",
            "1 [a] 0.750 0.5000 +0.0200 +0.0100 to +0.0400 0.02",
            "2 b -0.250 none -0.0300 -0.0400 to -0.0100 0.04",
            "Errors' correlation (1: the same mistakes)",
            "1 2",
            "1 1.00 -",
            "2 0.46 1.00",
            "Note: [b]note",
            "Wrote [x]/out.csv",
            "Checked: 3 ids, each once, every score finite, column '[ECR]'.",
        ]
    )


def test_numbers_stand_below_their_columns(shown):
    lines = shown()
    header = next(line for line in lines if "challenge  " in line and "interval" in line)
    row = next(line for line in lines if line.startswith("ensemble"))
    assert header.startswith(" ")
    assert row.index("0.6000") + 6 == header.index("challenge") + 9  # right-aligned
    assert len(header) <= 80
    assert all(len(line) <= 100 for line in lines)


def test_without_labels_and_without_fitted_weights_less_is_said(shown):
    lines = shown(judgement=None, combination=equal("rank_mean", ["a", "b"]), notes=())
    assert lines == [
        "3 items, 2 members, rank_mean; no labels to judge by.",
        "Wrote [x]/out.csv",
        "Checked: 3 ids, each once, every score finite, column '[ECR]'.",
    ]
    text = "\n".join(shown(judgement=replace(JUDGEMENT, fitted=None)))
    assert "too good" not in text.lower()


@pytest.mark.parametrize(
    ("method", "spread", "warned"), [("mean", 3.01, True), ("mean", 2.99, False), ("rank_mean", 50.0, False)]
)
def test_members_whose_scores_spread_three_times_as_much_are_pointed_out(shown, method, spread, warned):
    scores = np.array([[-1.0, -spread], [1.0, spread]])
    lines = shown(judgement=None, combination=equal(method, ["a", "b"]), notes=(), ids=("x", "y"), scores_NM=scores)
    text = " ".join(lines)
    assert (
        f"Note: the members' scores spread differently (standard deviations: a 1, b {spread:.3g}); a plain mean "
        "follows the widest. rank_mean and weights do not mind." in text
    ) == warned
    assert ("Note" in text) == warned


def test_a_gain_of_0_that_has_no_width_says_why(shown):
    same = difference(0.0, math.nan, low=math.nan, high=math.nan, reason=SAME)
    lines = shown(judgement=replace(JUDGEMENT, gain=same, methods={"greedy": (evaluation(0.6), same)}))
    text = " ".join(" ".join(lines).split())
    assert "gain over best member +0.0000 none" in text
    assert "greedy 0.6000 +0.0000 none" in text
    assert f"No interval of the gain: {SAME}." in text
    assert f"No interval of a gain: {SAME}." in text


def test_long_names_stand_above_their_table_in_one_piece(shown):
    long = "qwen2_5_vl-av-regression-s0-6f008275 and the other folds"
    lines = shown(combination=replace(COMBINATION, members=(long, "b")))
    start = lines.index(f"1 {long}")
    assert lines[start - 1] == "Members, and what each adds to the ensemble of the others"
    assert lines[start + 1] == "2 b"
    assert [line.split()[0] for line in lines[start + 4 : start + 6]] == ["1", "2"]


def test_of_many_members_the_extremes_of_the_errors_correlations_are_told(shown):
    matrix = np.full((16, 16), 0.5)
    matrix[2, 5], matrix[0, 15], matrix[3, 4] = 0.25, 0.98, math.nan
    many = replace(
        JUDGEMENT,
        members=(evaluation(0.5),) * 16,
        added=(difference(0.0, 0.5),) * 16,
        error_correlation_MM=matrix,
    )
    names = tuple(f"m{place}" for place in range(16))
    text = " ".join(shown(judgement=many, combination=equal("mean", names), names=names, scores_NM=np.eye(16)[:3]))
    assert (
        "From 0.25 (members 3 and 6) to 0.98 (members 1 and 16), median 0.50; all stand in the JSON file "
        "(error_correlation)." in text
    )
    none = replace(many, error_correlation_MM=np.full((16, 16), math.nan))
    assert "(1: the same mistakes) There is none." in " ".join(
        shown(judgement=none, combination=equal("mean", names), names=names, scores_NM=np.eye(16)[:3])
    )


def test_a_judgement_is_recorded_under_stable_names():
    plain = JUDGEMENT.to_json()
    assert list(plain) == [
        "honest",
        "members",
        "ensemble",
        "fitted_on_the_same_labels",
        "best_member",
        "best_member_chosen_out_of_fold",
        "gain",
        "methods",
        "added_by_each_member",
        "error_correlation",
    ]
    assert plain["honest"] == JUDGEMENT.honest
    assert plain["members"] == [one.to_json() for one in JUDGEMENT.members]
    assert plain["ensemble"] == JUDGEMENT.ensemble.to_json()
    assert plain["fitted_on_the_same_labels"] == JUDGEMENT.fitted.to_json()
    assert plain["best_member"] == "[a]"
    assert plain["gain"] == asdict(JUDGEMENT.gain)
    assert plain["best_member_chosen_out_of_fold"] == JUDGEMENT.chosen.to_json()
    assert list(plain["methods"]) == ["rank_mean", "stack"]
    assert plain["methods"]["rank_mean"]["gain"]["low"] is None
    assert plain["methods"]["stack"] == {"ensemble": plain["ensemble"], "gain": plain["gain"]}
    assert plain["added_by_each_member"] == [asdict(one) for one in JUDGEMENT.added]
    assert plain["error_correlation"] == [[1.0, None], [0.456, 1.0]]
    assert replace(JUDGEMENT, fitted=None).to_json()["fitted_on_the_same_labels"] is None


def test_items_whose_weights_saw_their_labels_are_written_out_of_fold(members):
    known = members(labels_N=np.array([0.1, math.nan, 0.9]))
    combination, judgement = equal("mean", ["a", "b"]), JUDGEMENT
    fitted = replace(judgement, scores_N=np.array([7.0, 8.0]), fitted=judgement.ensemble)
    assert prediction(known, combination, fitted).tolist() == [7.0, 0.5, 8.0]
    assert prediction(known, combination, replace(fitted, fitted=None)).tolist() == [0.5, 0.5, 0.0]
    assert prediction(known, combination, None).tolist() == [0.5, 0.5, 0.0]
    assert prediction(members(), combination, fitted).tolist() == [0.5, 0.5, 0.0]


def test_members_of_weight_0_are_named_and_groups_counted(shown):
    scores = np.array([[0.1, 0.5], [0.2, 0.5], [0.4, 0.5]])
    combination = equal("mean", ["a", "b"], without=["b"])
    assert "Note: left out with weight 0: b (constant)." in shown(combination=combination, scores_NM=scores)
    assert not any("weight 0" in line for line in shown())
    unused = replace(COMBINATION, weights=(1.0, 0.0))
    assert "Note: left out with weight 0: b." in shown(combination=unused)
    grouped = replace(JUDGEMENT, ensemble=replace(JUDGEMENT.ensemble, n=12, num_groups=4))
    assert "Ensemble 'stack' of 2, n = 12 in 4 groups" in shown(judgement=grouped)
    few = replace(JUDGEMENT, chosen=None, gain=difference(math.nan, math.nan, reason="too few items"), methods={})
    assert "Best member: too few items; on all labels it is [a]." in " ".join(shown(judgement=few))
