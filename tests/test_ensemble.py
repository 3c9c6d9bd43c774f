import json
import math
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from evqa.ensemble import main
from evqa.ensembling import Combination, error_correlation, fit, out_of_fold
from evqa.ensembling.fitting import stratified_folds
from evqa.ensembling.paths import best_convex
from evqa.errors import AnnotationError
from evqa.metrics import challenge, read_scores, write_scores

N = 90
IDS = [f"{number:04d}" for number in range(N)]


def truth(seed=0):
    """Three factors, a label that is their sum as a rank, and members that each see a part."""
    rng = np.random.default_rng(seed)
    seen, heard, read, noise, other = rng.normal(size=(5, N))
    label = np.argsort(np.argsort(seen + heard + read + 0.3 * noise)) / (N - 1)
    members = {"v": seen + read + 0.3 * other, "a": heard + read + 0.5 * noise, "noise": other}
    return label, {name: 0.5 + 0.2 * scores for name, scores in members.items()}


@pytest.fixture
def folder(tmp_path):
    label, members = truth()
    for name, scores in members.items():
        write_scores(tmp_path / f"{name}.csv", dict(zip(IDS, scores, strict=True)), label="ECR")
    rows = "".join(f'{id_},"a, b",{y!r}\n' for id_, y in zip(IDS, map(float, label), strict=True))
    (tmp_path / "targets.csv").write_text("Id,Title,ECR\n" + rows)
    (tmp_path / "test.csv").write_text("Id,Title\n" + "".join(f"{id_},t\n" for id_ in IDS))
    return tmp_path


@pytest.fixture
def ensemble(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr("evqa.ensembling.gain.NUM_PARTS", 2)  # enough for a number; tests/ensembling has all

    def run(*arguments, out="out.csv", code=0):
        assert main([*arguments, "--out", out]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return run


def scores_of(path):
    return np.array([read_scores(path).values[id_] for id_ in IDS])


def test_mean_is_the_mean_and_rank_mean_the_mean_of_ranks(ensemble, folder):
    _, members = truth()
    ensemble("v.csv", "a.csv")
    assert scores_of(folder / "out.csv") == pytest.approx((members["v"] + members["a"]) / 2, abs=1e-15)
    ensemble("v.csv", "a.csv", "--method", "rank_mean")
    ranks = [np.argsort(np.argsort(members[name])) + 0.5 for name in ("v", "a")]
    assert scores_of(folder / "out.csv") == pytest.approx((ranks[0] + ranks[1]) / 2 / N)


@pytest.mark.parametrize("method", ["mean", "rank_mean", "weights", "greedy", "stack"])
def test_the_written_file_has_the_score_that_is_shown_as_the_headline(ensemble, folder, method):
    shown = ensemble("v.csv", "a.csv", "--targets", "targets.csv", "--method", method)
    label, members = truth()
    value = challenge(scores_of(folder / "out.csv"), label).value
    headline = next(line for line in shown.splitlines() if line.startswith("ensemble"))
    assert f"{value:.4f}" in headline
    assert value > max(challenge(scores, label).value for scores in members.values())
    judgement = json.loads((folder / "out.json").read_text())["judgement"]
    assert judgement["gain"]["low"] > 0
    assert judgement["ensemble"]["metrics"]["challenge"]["value"] == pytest.approx(value)


def test_weights_fitted_on_the_labels_they_are_scored_on_are_called_too_good(ensemble):
    shown = " ".join(ensemble("v.csv", "a.csv", "--targets", "targets.csv", "--method", "weights").split())
    assert "Too good: scored on the labels that the weights were fitted on" in shown
    assert "Ensemble: out of fold, nested 5-fold cross-validation" in shown
    assert "fitted on" not in ensemble("v.csv", "a.csv", "--targets", "targets.csv")


def test_weights_go_to_a_set_without_labels(ensemble, folder):
    ensemble("v.csv", "a.csv", "--targets", "targets.csv", "--method", "weights", out="val.csv")
    shown = ensemble("a.csv", "v.csv", "--targets", "test.csv", "--weights", "val.json", "--zip", out="sub.csv")
    assert "no labels to judge by" in shown
    _, members = truth()
    kept = json.loads((folder / "val.json").read_text())["combination"]
    parts = [
        weight * (members[name] - centre) / spread
        for name, weight, centre, spread in zip(
            kept["members"], kept["weights"], kept["centres"], kept["spreads"], strict=True
        )
    ]
    assert scores_of(folder / "sub.csv") == pytest.approx(kept["offset"] + sum(parts))
    with zipfile.ZipFile(folder / "sub.zip") as archive:
        assert archive.namelist() == ["sub.csv"]
        assert archive.read("sub.csv") == (folder / "sub.csv").read_bytes()


def test_weights_that_meet_their_own_labels_are_not_called_honest(ensemble):
    ensemble("v.csv", "a.csv", "--targets", "targets.csv", "--method", "stack", out="val.csv")
    shown = ensemble("v.csv", "a.csv", "--targets", "targets.csv", "--weights", "val.json")
    assert "NOT honest: the weights were fitted on these very labels" in shown


def test_other_names_are_matched_by_position_and_that_is_said(ensemble):
    ensemble("v.csv", "a.csv", "--targets", "targets.csv", "--method", "stack", out="val.csv")
    shown = ensemble("picture=v.csv", "sound=a.csv", "--weights", "val.json")
    assert "Note: Weights go by position: v -> picture, a -> sound." in shown


def test_run_folders_are_members(ensemble, folder):
    for name in ("v", "a"):
        predictions = folder / "runs" / "demo" / f"modal={name},seed=0" / "predictions"
        predictions.mkdir(parents=True)
        (predictions / "val.csv").write_bytes((folder / f"{name}.csv").read_bytes())
    shown = ensemble("runs/demo/modal=v,seed=0", "runs/demo/modal=a,seed=0", "--targets", "targets.csv")
    assert "modal=v,seed=0" in shown
    error = ensemble("runs/demo/modal=v,seed=0", "a.csv", "--split", "test", code=2)
    assert (
        error
        == "runs/demo/modal=v,seed=0: no predictions/test.csv; is the run finished, and is 'test' one of its splits?\n"
    )


def test_the_labels_that_runs_keep_need_not_be_given(ensemble, folder):
    for name in ("v", "a"):
        predictions = folder / name / "predictions"
        predictions.mkdir(parents=True)
        (predictions / "val.csv").write_bytes((folder / f"{name}.csv").read_bytes())
        (predictions / "val.targets.csv").write_bytes((folder / "targets.csv").read_bytes())
    given = ensemble("v", "a", "--targets", "targets.csv", "--method", "weights")
    assert ensemble("v", "a", "--method", "weights") == given
    kept = folder / "a" / "predictions" / "val.targets.csv"
    header, first, *others = kept.read_text().splitlines()
    kept.write_text("\n".join([header, first.rpartition(",")[0] + ",0.123", *others]) + "\n")
    error = ensemble("v", "a", "--method", "weights", code=2)
    assert error.startswith("a was scored with another label of ")
    assert error.endswith(": give --targets.\n")


def test_different_ids_are_listed_and_combined_only_on_request(ensemble, folder):
    lines = (folder / "a.csv").read_text().splitlines()
    (folder / "short.csv").write_text("\n".join([*lines[:-2], "new,0.5"]))
    error = ensemble("v.csv", "short.csv", code=2)
    assert "short lacks 2 of the 90 ids of v: 0088, 0089." in error
    assert "short has 1 ids that v has not: new." in error
    assert not (folder / "out.csv").exists()
    shown = ensemble("v.csv", "short.csv", "--common")
    assert "Checked: 88 ids" in shown
    assert "Note: short lacks 2" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v.csv"], "One prediction is no ensemble; give at least two."),
        (["v.csv", "v.csv"], "The same member is given more than once: v.csv."),
        (["v.csv", "targets.csv"], "a file of scores has exactly 'Id' and the label's name."),
        (
            ["v.csv", "a.csv", "--method", "stack"],
            "--method stack fits weights, but no labels are known: give --targets with the column 'ECR'",
        ),
        (["v.csv", "a.csv", "--weights", "v.csv"], "v.csv: not a file of weights that evqa.ensemble wrote"),
        (
            ["v.csv", "a.csv", "--targets", "targets.csv", "--method", "weights", "--folds", "60"],
            "are too few for 60 folds",
        ),
    ],
)
def test_what_cannot_be_combined_is_a_sentence_and_exit_code_2(ensemble, arguments, message):
    assert message in ensemble(*arguments, code=2)


def test_members_of_very_different_scale_are_pointed_out(ensemble, folder):
    scores = {id_: 100 * value for id_, value in read_scores(folder / "a.csv").values.items()}
    write_scores(folder / "hundred.csv", scores, label="ECR")
    assert "a plain mean follows the widest" in ensemble("v.csv", "hundred.csv")


def test_convex_weights_find_the_best_mixture():
    label, members = truth()
    scores = np.stack([(s - s.mean()) / s.std() for s in members.values()], axis=1)
    weights = best_convex(scores, label)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    best = challenge(scores @ weights, label).value
    rng = np.random.default_rng(0)
    assert best >= max(challenge(scores @ rng.dirichlet(np.ones(3)), label).value for _ in range(300)) - 1e-3


def test_out_of_fold_scores_of_pure_noise_are_not_made_good():
    # Over 200 seeds: 0.30 on the labels that were fitted, -0.02 with a standard error of 0.01 out of fold.
    fitted, honest = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scores, label, names = rng.normal(size=(60, 6)), rng.uniform(size=60), list("abcdef")
        honest.append(challenge(out_of_fold("stack", scores, label), label).value)
        fitted.append(challenge(fit("stack", scores, label, names=names).apply(scores), label).value)
    assert np.mean(honest) < 0.12 < 0.22 < np.mean(fitted)


@pytest.mark.parametrize("method", ["weights", "greedy", "stack"])
def test_the_scale_of_a_member_does_not_matter_to_fitted_weights(method):
    label, members = truth()
    scores = np.stack([members["v"], members["a"]], axis=1)
    plain = out_of_fold(method, scores, label)
    assert out_of_fold(method, scores * [1, 100] + [5, 7], label) == pytest.approx(plain, abs=1e-6)


def test_every_fold_has_the_same_spread_of_labels():
    label = np.random.default_rng(0).uniform(size=103)
    folds = stratified_folds(label, unit_N=np.arange(103), num_folds=5, seed=1)
    assert sorted(np.concatenate(folds).tolist()) == list(range(103))
    assert max(len(fold) for fold in folds) - min(len(fold) for fold in folds) <= 5
    assert np.ptp([label[fold].mean() for fold in folds]) < 0.05
    with pytest.raises(AnnotationError, match="10 labelled items are too few for 5 folds"):
        stratified_folds(label[:10], unit_N=np.arange(10), num_folds=5, seed=1)


def test_errors_of_the_same_prediction_correlate_fully_and_those_of_a_constant_one_are_known():
    label, members = truth()
    scores = np.stack([members["v"], 3 * members["v"] + 1, members["a"], np.ones(N)], axis=1)
    matrix = error_correlation(scores, label)
    assert matrix[0, 1] == pytest.approx(1)
    assert matrix[0, 2] < 0.9
    assert np.isfinite(matrix).all()


def test_weights_for_another_number_of_members_are_refused():
    combination = Combination(method="mean", members=("a", "b"), weights=(0.5, 0.5))
    with pytest.raises(AnnotationError, match=r"The weights are for 2 members \(a, b\), 3 are given"):
        combination.in_order_of(["a", "b", "c"])


def test_a_constant_member_breaks_nothing(ensemble, folder):
    write_scores(folder / "flat.csv", dict.fromkeys(IDS, 0.5), label="ECR")
    for method in ("mean", "rank_mean", "weights", "greedy", "stack"):
        shown = ensemble("v.csv", "a.csv", "flat.csv", "--targets", "targets.csv", "--method", method)
        assert "none" in shown
        assert "flat (constant)." in shown
        assert json.loads((folder / "out.json").read_text())["combination"]["weights"][2] == 0
        assert all(math.isfinite(value) for value in scores_of(folder / "out.csv"))


def test_help_imports_neither_torch_nor_numpy():
    code = (
        "import sys\nfrom evqa.ensemble import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'scipy', 'rich'} & set(sys.modules)\n"
    )
    assert "--targets" in subprocess.check_output([sys.executable, "-c", code], text=True)


def test_unfinished_runs_are_left_out_with_a_note(ensemble, folder):
    for name in ("v", "a", "killed"):
        run = folder / "runs" / name
        (run / "predictions").mkdir(parents=True)
        (run / "config.yaml").write_text("seed: 0\n")
        (run / "predictions" / "val.csv").write_bytes(
            (folder / f"{'v' if name == 'killed' else name}.csv").read_bytes()
        )
        if name != "killed":
            (run / "predictions" / "finished").touch()
    (folder / "runs" / "empty").mkdir()
    shown = ensemble("runs/v", "runs/a", "runs/killed", "runs/empty", "--targets", "targets.csv")
    assert "Note: runs/killed is not finished and left out." in shown
    assert "Note: runs/empty is no run and left out." in shown
    assert "Ensemble 'mean' of 2" in shown
    error = ensemble("runs/v", "runs/killed", code=2)
    assert error == "One prediction is no ensemble; give at least two. runs/killed is not finished and left out.\n"
    assert ensemble("x=runs/killed", code=2).startswith("Not one of the runs is finished (x=runs/killed);")


@pytest.mark.parametrize("place", ["pipe", "/dev/zero"])
def test_only_files_are_read(ensemble, folder, place):
    os.mkfifo(folder / "pipe")
    for arguments in ([place, "v.csv"], ["v.csv", "a.csv", "--targets", place], ["v.csv", "a.csv", "--weights", place]):
        assert f"is a {'pipe (FIFO)' if place == 'pipe' else 'device'}, not a file" in ensemble(*arguments, code=2)


def test_groups_beside_the_labels_of_a_table_or_of_runs_are_kept_together_and_counted(ensemble, folder):
    header, *lines = (folder / "targets.csv").read_text().splitlines()
    rows = [f"{line},{'' if place > 80 else f'creator {place // 4}'}" for place, line in enumerate(lines)]
    (folder / "grouped.csv").write_text("\n".join([f"{header},group", *rows]) + "\n")
    plain = ensemble("v.csv", "a.csv", "--targets", "targets.csv", "--method", "weights")
    shown = ensemble("v.csv", "a.csv", "--targets", "grouped.csv", "--method", "weights")
    assert "n = 90 in 30 groups" in shown
    assert "groups" not in plain
    judgement = json.loads((folder / "out.json").read_text())["judgement"]
    every = [judgement["ensemble"], judgement["methods"]["mean"]["ensemble"], *judgement["members"]]
    assert {one["num_groups"] for one in every} == {30}
    for name in ("v", "a"):
        (folder / name / "predictions").mkdir(parents=True)
        (folder / name / "predictions" / "val.csv").write_bytes((folder / f"{name}.csv").read_bytes())
        (folder / name / "predictions" / "val.targets.csv").write_bytes((folder / "grouped.csv").read_bytes())
    assert ensemble("v", "a", "--method", "weights") == shown
    ensemble("v", "a", "--targets", "targets.csv", "--weights", "out.json", out="again.csv")
    assert json.loads((folder / "out.json").read_text())["judgement"]["ensemble"]["num_groups"] == 30
    error = ensemble("v", "a", "--method", "weights", "--folds", "15", code=2)
    assert error.startswith("90 labelled items in 30 groups are too few for 15 folds")


def test_all_methods_stand_side_by_side_with_honest_scores_whichever_is_asked_for(ensemble, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    tables = []
    for method in ("mean", "greedy"):
        shown = ensemble("v.csv", "a.csv", "noise.csv", "--targets", "targets.csv", "--method", method)
        judgement = json.loads((folder / "out.json").read_text())["judgement"]
        own = judgement["methods"][method]
        assert own == {"ensemble": judgement["ensemble"], "gain": judgement["gain"]}
        start = shown.index("Every method: honest score")
        tables.append(shown[start : shown.index("Members, and what")])
        assert f"{own['ensemble']['metrics']['challenge']['value']:.4f}" in tables[-1]
    assert tables[0] == tables[1]
    assert [line.split()[0] for line in tables[0].splitlines()[3:8]] == [
        "mean",
        "rank_mean",
        "weights",
        "greedy",
        "stack",
    ]
    assert max(map(len, tables[0].splitlines())) <= 80


@pytest.mark.filterwarnings("error")
def test_few_items_are_combined_without_a_warning_and_without_a_claim(ensemble, folder):
    for name in ("v", "a", "targets"):
        (folder / f"{name}.csv").write_text("\n".join((folder / f"{name}.csv").read_text().splitlines()[:6]) + "\n")
    shown = " ".join(ensemble("v.csv", "a.csv", "--targets", "targets.csv").split())
    assert "gain over best member none" in shown
    assert "Best member: too few items or groups to choose the best member by others than it is compared on" in shown
    assert list(json.loads((folder / "out.json").read_text())["judgement"]["methods"]) == ["mean", "rank_mean"]
