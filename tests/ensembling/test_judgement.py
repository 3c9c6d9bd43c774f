"""What is said about an ensemble equals what the metrics say about its scores."""

import hashlib
import math
import zipfile
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from evqa.ensembling import (
    Combination,
    Judgement,
    Members,
    check_submission,
    equal,
    error_correlation,
    fit,
    judge,
    judge_given,
    out_of_fold,
    prediction,
    read_members,
    write_submission,
)
from evqa.ensembling.show import show
from evqa.errors import AnnotationError, RunError
from evqa.metrics import Difference, Estimate, Evaluation, bootstrap, challenge, evaluate, paired_difference
from evqa.metrics.paired import difference_of_draws

NAMES = ["a", "b", "c"]


def sample(n=45, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=n)
    return labels[:, None] + rng.normal(size=(n, 3)) * [0.5, 0.3, 0.4], labels


def check(judgement, scores_N, scores, labels, without):
    """Every number of a judgement, from the functions that define them."""
    best = max(range(3), key=lambda at: challenge(scores[:, at], labels).value)
    assert np.array_equal(judgement.scores_N, scores_N)
    assert judgement.ensemble == evaluate(scores_N, labels, fitted=False)
    assert judgement.members == tuple(evaluate(scores[:, at], labels, fitted=False) for at in range(3))
    assert judgement.best == NAMES[best] == "b"
    assert judgement.gain == paired_difference(scores_N, scores[:, best], labels)
    assert judgement.added == tuple(paired_difference(scores_N, other, labels) for other in without)
    draws = [bootstrap(column, labels)["challenge"] for column in (scores_N, *scores.T)]
    value = challenge(scores_N, labels).value - challenge(scores[:, best], labels).value
    assert judgement.gain_reselected == difference_of_draws(value, draws[0] - np.max(draws[1:], axis=0))
    assert np.array_equal(judgement.error_correlation_MM, error_correlation(scores, labels))


@pytest.mark.parametrize("method", ["mean", "rank_mean"])
def test_without_fitted_weights_the_prediction_itself_is_judged(method):
    scores, labels = sample()
    combination, judgement = judge(method, scores, labels, names=NAMES)
    assert combination == equal(method, NAMES)
    without = [equal(method, NAMES[:2]).apply(np.delete(scores, at, axis=1)) for at in range(3)]
    check(judgement, combination.apply(scores), scores, labels, without)
    assert (judgement.honest, judgement.fitted) == ("no weight is fitted", None)


def test_fitted_weights_are_judged_out_of_fold():
    scores, labels = sample()
    combination, judgement = judge("stack", scores, labels, names=NAMES, num_folds=3, seed=4)
    assert combination == fit("stack", scores, labels, names=NAMES, seed=4)
    honest = out_of_fold("stack", scores, labels, names=NAMES, num_folds=3, seed=4)
    without = [
        out_of_fold("stack", np.delete(scores, at, axis=1), labels, names=["x", "y"], num_folds=3, seed=4)
        for at in range(3)
    ]
    check(judgement, honest, scores, labels, without)
    assert judgement.honest == "out of fold, nested 3-fold cross-validation"
    assert judgement.fitted == evaluate(combination.apply(scores), labels, fitted=False)
    assert judge("stack", scores, labels, names=NAMES)[1].honest == "out of fold, nested 5-fold cross-validation"


@pytest.mark.parametrize(
    ("same", "honest"),
    [
        (True, "NOT honest: the weights were fitted on these very labels"),
        (False, "weights from a file that was fitted on other labels"),
    ],
)
def test_given_weights_are_judged_with_each_member_silenced_to_its_mean(same, honest):
    scores, labels = sample()
    combination = fit("stack", scores, labels, names=NAMES)
    judgement = judge_given(combination, scores, labels, same_labels=same)
    without = []
    for at in range(3):
        silent = scores.copy()
        silent[:, at] = scores[:, at].mean()
        without.append(combination.apply(silent))
    check(judgement, combination.apply(scores), scores, labels, without)
    assert (judgement.honest, judgement.fitted) == (honest, None)


@pytest.mark.parametrize("labels", [[], [0.5] * 5])
def test_labels_without_any_difference_judge_nothing(labels):
    with pytest.raises(AnnotationError) as error:
        judge("mean", np.ones((len(labels), 2)), np.array(labels), names=["a", "b"])
    assert str(error.value) == f"{len(labels)} labels without any difference cannot judge an ensemble."


def test_a_constant_member_is_never_the_best():
    scores, labels = sample()
    scores[:, 1] = 0.5
    assert judge("mean", scores, labels, names=NAMES)[1].best in ("a", "c")


def test_errors_correlate_after_each_member_is_mapped_to_the_labels():
    scores, labels = sample()
    residuals = [labels - np.polyval(np.polyfit(column, labels, 1), column) for column in scores.T]
    assert error_correlation(scores, labels) == pytest.approx(np.corrcoef(residuals), abs=1e-9)
    flat = np.stack([scores[:, 0], np.full(45, 2.0)], axis=1)
    known = np.corrcoef([residuals[0], labels])[0, 1]  # a constant knows nothing: its error is the label
    assert error_correlation(flat, labels)[0, 1] == pytest.approx(known)


def members(**more):
    fields = {"names": ("a", "b"), "label": "ECR", "ids": ("x", "y", "z"), "scores_NM": np.eye(3)[:, :2]}
    return Members(**{**fields, **more})


def test_items_whose_weights_saw_their_labels_are_written_out_of_fold():
    known = members(labels_N=np.array([0.1, math.nan, 0.9]))
    combination, judgement = equal("mean", ["a", "b"]), JUDGEMENT
    fitted = replace(judgement, scores_N=np.array([7.0, 8.0]), fitted=judgement.ensemble)
    assert prediction(known, combination, fitted).tolist() == [7.0, 0.5, 8.0]
    assert prediction(known, combination, replace(fitted, fitted=None)).tolist() == [0.5, 0.5, 0.0]
    assert prediction(known, combination, None).tolist() == [0.5, 0.5, 0.0]
    assert prediction(members(), combination, fitted).tolist() == [0.5, 0.5, 0.0]


def test_labelled_items_and_the_fingerprint_of_their_labels():
    known = members(labels_N=np.array([0.25, math.nan, 1.0]))
    scores, labels = known.labelled()
    assert (scores.tolist(), labels.tolist()) == ([[1.0, 0.0], [0.0, 0.0]], [0.25, 1.0])
    assert known.digest() == hashlib.sha256(b"x\t0.25\ny\tnan\nz\t1.0").hexdigest()
    turned = members(ids=("z", "y", "x"), labels_N=np.array([1.0, math.nan, 0.25]))
    assert turned.digest() == known.digest()
    assert members().digest() is None


def table(path, rows, *, label="ECR", ids="Id"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{ids},{label}\n" + "".join(f"{id_},{value}\n" for id_, value in rows.items()))
    return path


def read(*sources, split="val", targets=None, label=None, common=False):
    return read_members([str(source) for source in sources], split=split, targets=targets, label=label, common=common)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(Path("a.csv"), {"x": 1, "y": 2, "z": 3})
    table(Path("b.csv"), {"z": 30, "x": 10, "y": 20})
    return tmp_path


def test_members_are_brought_into_the_order_of_the_first_or_of_the_targets(here):
    found = read("a.csv", "b.csv")
    assert (found.names, found.label, found.ids) == (("a", "b"), "ECR", ("x", "y", "z"))
    assert found.scores_NM.tolist() == [[1, 10], [2, 20], [3, 30]]
    assert (found.labels_N, found.left_out) == (None, ())
    targets = table(here / "t.csv", {"z": 0.5, "y": "", "x": 0.25})
    found = read("a.csv", "b.csv", targets=targets)
    assert found.ids == ("z", "y", "x")
    assert found.scores_NM.tolist() == [[3, 30], [2, 20], [1, 10]]
    assert np.array_equal(found.labels_N, [0.5, np.nan, 0.25], equal_nan=True)
    assert read("a.csv", "b.csv", targets=table(here / "t.csv", {"x": 1, "y": 1, "z": 1}, label="MOS")).labels_N is None


def test_names_come_from_files_folders_or_the_user(here):
    table(here / "runs/one/predictions/val.csv", {"x": 5, "y": 6, "z": 7})
    table(here / "runs/one/predictions/test.csv", {"x": 8, "y": 6, "z": 7})
    table(here / "k=v.csv", {"x": 0, "y": 0, "z": 9})
    found = read("a.csv", "mine=b.csv", "runs/one", "run=runs/one", "k=v.csv")
    assert found.names == ("a", "mine", "one", "run", "k=v")
    assert found.scores_NM[0].tolist() == [1, 10, 5, 5, 0]
    assert read("a.csv", "runs/one", split="test").scores_NM[0].tolist() == [1, 8]
    table(here / "other/a.csv", {"x": 4, "y": 5, "z": 6})
    assert read("a.csv", "other/a.csv").names == ("a.csv", "other/a.csv")
    assert read("./runs/one/.", "a.csv").names == ("one", "a")
    with pytest.raises(RunError) as error:
        read("a.csv", "runs/one", split="hidden")
    assert str(error.value) == (
        "runs/one: no predictions/hidden.csv; is the run finished, and is 'hidden' one of its splits?"
    )


def test_labels_beside_predictions_are_taken_and_must_agree(here):
    for name in ("p", "q"):
        table(here / f"{name}/predictions/val.csv", dict(zip("xyz", (1, 2, 3), strict=True)))
        table(here / f"{name}/predictions/val.targets.csv", {"x": 0.1, "y": 0.2, "z": 0.3})
    assert read("p", "q").labels_N.tolist() == [0.1, 0.2, 0.3]
    assert read("p", "b.csv").labels_N.tolist() == [0.1, 0.2, 0.3]
    assert read("b.csv", "p").labels_N.tolist() == [0.3, 0.1, 0.2]
    table(here / "q/predictions/val.targets.csv", {"x": 1}, label="MOS")
    assert read("p", "q").labels_N.tolist() == [0.1, 0.2, 0.3]
    table(here / "q/predictions/val.targets.csv", {"z": 0.5})
    with pytest.raises(AnnotationError) as error:
        read("p", "q")
    assert str(error.value) == "q was scored with another label of z (0.5, not 0.3): give --targets."


def test_what_does_not_fit_together_is_told_in_whole_sentences(here):
    table(here / "m.csv", {"x": 1, "y": 2, "z": 3}, label="MOS")
    with pytest.raises(AnnotationError) as error:
        read("a.csv", "m.csv")
    assert str(error.value) == (
        "The predictions name their scores differently (a: ECR, m: MOS); choose one with --label."
    )
    assert read("a.csv", "m.csv", label="MOS").label == "MOS"
    table(here / "s.csv", {"y": 2, "w": 3, "v": 3})
    sentences = (
        "s lacks 2 of the 3 ids of a: x, z.",
        "s has 2 ids that a has not: v, w.",
    )
    with pytest.raises(AnnotationError) as error:
        read("a.csv", "s.csv")
    assert str(error.value) == (
        "The predictions are not of the same ids:\n  "
        + "\n  ".join(sentences)
        + "\n--common combines the ids that all have."
    )
    common = read("a.csv", "s.csv", common=True)
    assert (common.ids, common.left_out) == (("y",), sentences)
    table(here / "n.csv", {"n": 1})
    with pytest.raises(AnnotationError, match=r"^No id occurs in all predictions\.$"):
        read("a.csv", "n.csv", common=True)
    with pytest.raises(AnnotationError, match=r"^The same member is given more than once: a\.csv\.$"):
        read("a.csv", "a.csv")
    targets = table(here / "t.csv", {"x": 0.5})
    with pytest.raises(AnnotationError) as error:
        read("a.csv", targets=targets)
    assert f"a has 2 ids that {targets} has not: y, z." in str(error.value)


def test_a_submission_is_written_zipped_and_read_back(tmp_path):
    path = tmp_path / "sub.csv"
    scores = np.array([0.5, 1 / 3])
    assert write_submission(path, ["x", "y"], scores, label="ECR", zipped=False) == [path]
    assert path.read_text() == "Id,ECR\nx,0.5\ny,0.3333333333333333\n"
    assert write_submission(path, ["x", "y"], scores, label="ECR", zipped=True) == [path, tmp_path / "sub.zip"]
    with zipfile.ZipFile(tmp_path / "sub.zip") as archive:
        (info,) = archive.infolist()
        assert (info.filename, info.compress_type) == ("sub.csv", zipfile.ZIP_DEFLATED)
        assert archive.read("sub.csv") == path.read_bytes()
    with pytest.raises(AnnotationError) as error:
        write_submission(tmp_path / "bad.csv", ["x", "y"], np.array([0.5, math.inf]), label="ECR", zipped=False)
    assert str(error.value) == "1 of 2 combined scores are not finite: y. Nothing is written."
    assert not (tmp_path / "bad.csv").exists()


@pytest.mark.parametrize(
    ("rows", "label", "sentence"),
    [
        ({"x": 1, "y": 2}, "MOS", "the scores are called 'MOS', 'ECR' is expected."),
        ({"x": 1}, "ECR", "1 ids are missing (y), 0 are too many (none)."),
        ({"x": 1, "y": 2, "w": 3, "v": 3}, "ECR", "0 ids are missing (none), 2 are too many (v, w)."),
    ],
)
def test_a_wrong_submission_is_told_by_its_ids(tmp_path, rows, label, sentence):
    path = table(tmp_path / "sub.csv", rows, label=label)
    with pytest.raises(AnnotationError) as error:
        check_submission(path, ["x", "y"], label="ECR")
    assert str(error.value) == f"{path}: {sentence}"
    check_submission(path, list(rows), label=label)


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
    gain_reselected=difference(0.05, 0.2, reason="none", low=math.nan, high=math.nan),
    added=(difference(0.02, 0.01), difference(-0.03, 0.04)),
    error_correlation_MM=np.array([[1.0, math.nan], [0.456, 1.0]]),
)
COMBINATION = Combination(method="stack", members=("[a]", "b"), weights=(3.0, -1.0))


def shown(*, judgement=JUDGEMENT, combination=COMBINATION, notes=("[b]note",), **more):
    text = StringIO()
    show(
        members(label="[ECR]", **more),
        combination,
        judgement,
        notes=notes,
        written=[Path("[x]/out.csv")],
        console=Console(file=text, width=100, color_system=None),
    )
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


def test_the_screen_shows_every_number_and_nothing_as_markup():
    words = " ".join(line for line in shown() if not set(line) <= {"─"}).split()
    assert " ".join(words) == " ".join(
        [
            "Ensemble 'stack' of 2, n = 3",
            "challenge 95 % interval p SROCC PLCC",
            "ensemble 0.6000 0.5000 to 0.7000 0.6100 0.5900",
            "best member 0.5000 0.4000 to 0.6000 0.5100 0.4900",
            "gain over best member +0.1000 +0.0900 to +0.1200 0.012",
            "gain, best chosen anew none",
            "too good 0.7000 0.7100 0.6900",
            "Ensemble: out of fold, nested 3-fold cross-validation. Best member: [a]; chosen anew in each resample.",
            "Too good: scored on the labels that the weights were fitted on.",
            "challenge: 0.6 SROCC + 0.4 PLCC.",
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


def test_numbers_stand_below_their_columns():
    lines = shown()
    header = next(line for line in lines if "challenge  " in line and "interval" in line)
    row = next(line for line in lines if line.startswith("ensemble"))
    assert header.startswith(" ")
    assert row.index("0.6000") + 6 == header.index("challenge") + 9  # right-aligned
    assert len(header) <= 80
    assert all(len(line) <= 100 for line in lines)


def test_without_labels_and_without_fitted_weights_less_is_said():
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
def test_members_whose_scores_spread_three_times_as_much_are_pointed_out(method, spread, warned):
    scores = np.array([[-1.0, -spread], [1.0, spread]])
    lines = shown(judgement=None, combination=equal(method, ["a", "b"]), notes=(), ids=("x", "y"), scores_NM=scores)
    text = " ".join(lines)
    assert (
        f"Note: the members' scores spread differently (standard deviations: a 1, b {spread:.3g}); a plain mean "
        "follows the widest. rank_mean and weights do not mind." in text
    ) == warned
    assert ("Note" in text) == warned


def test_a_judgement_is_recorded_under_stable_names():
    plain = JUDGEMENT.to_json()
    assert list(plain) == [
        "honest",
        "members",
        "ensemble",
        "fitted_on_the_same_labels",
        "best_member",
        "gain",
        "gain_with_best_member_chosen_in_each_resample",
        "added_by_each_member",
        "error_correlation",
    ]
    assert plain["honest"] == JUDGEMENT.honest
    assert plain["members"] == [one.to_json() for one in JUDGEMENT.members]
    assert plain["ensemble"] == JUDGEMENT.ensemble.to_json()
    assert plain["fitted_on_the_same_labels"] == JUDGEMENT.fitted.to_json()
    assert plain["best_member"] == "[a]"
    assert plain["gain"] == asdict(JUDGEMENT.gain)
    assert plain["gain_with_best_member_chosen_in_each_resample"]["low"] is None
    assert plain["added_by_each_member"] == [asdict(one) for one in JUDGEMENT.added]
    assert plain["error_correlation"] == [[1.0, None], [0.456, 1.0]]
    assert replace(JUDGEMENT, fitted=None).to_json()["fitted_on_the_same_labels"] is None
