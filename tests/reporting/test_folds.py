"""Runs of folds as one run over all items, and runs that are too small to stand beside the others."""

import json
import shutil

import pytest

from evqa.config.folds import CHOSEN, POOLED
from evqa.errors import RunError
from evqa.metrics import challenge
from evqa.report import main
from evqa.reporting.folds import MEDIANS, join_folds
from evqa.reporting.runs import read_run
from tests.reporting.conftest import N


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_run, keep):
    """Two modalities, two seeds, three folds of each."""
    root, made = tmp_path_factory.mktemp("folds"), []
    for modal in ("v", "av"):
        for seed in range(2):
            for fold in range(3):
                given = [f"modal={modal}", f"seed={seed}", f"data.fold={fold}"]
                config, name = {"data": {"folds": 3, "fold": fold}}, f"{modal}-s{seed}-{fold}"
                made.append(make_run(root, modal=modal, seed=seed, overrides=given, config=config, name=name))
                keep(made[-1], part=fold)
    return made


def read(folders):
    return [read_run(folder, split="val") for folder in folders]


def test_the_folds_of_a_setting_and_seed_are_one_run_over_all_items(folders, tmp_path, capsys):
    runs, notes = join_folds(read(folders))
    assert [(run.seed, len(run.scores), len(run.items)) for run in runs] == [("0", N, N), ("1", N, N)] * 2
    assert notes == [f"{POOLED} {MEDIANS}", CHOSEN]
    first = runs[0]
    expected = challenge(list(first.scores.values()), [first.items[id_].label for id_ in first.scores]).value

    assert main([str(folders[0].parent), "--out", str(tmp_path), "--baseline", "modal=v"]) == 0
    study = json.loads((tmp_path / "report.json").read_text())
    assert (study["n"], study["axes"]) == (N, ["modal"])
    (v,) = (one for one in study["settings"] if one["name"] == "modal=v")
    assert v["metrics"]["challenge"]["of_seeds"][0] == pytest.approx(expected)
    assert "Scores of folds are pooled" in " ".join(capsys.readouterr().out.split())


def test_a_set_with_a_missing_fold_is_named_and_left_out(folders, tmp_path, capsys):
    assert main([*map(str, folders[1:]), "--out", str(tmp_path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "of its 3 folds 0 have no scores" in printed
    seeds = {one["name"]: one["seeds"] for one in json.loads((tmp_path / "report.json").read_text())["settings"]}
    assert seeds == {"modal=v": ["1"], "modal=av": ["0", "1"]}


def test_runs_of_one_and_the_same_fold_stay_as_they_are(folders):
    runs = read(folders[::3])
    assert join_folds(runs) == (runs, [])


def test_an_item_in_two_folds_is_refused(folders, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(folders[0], again)
    config = (again / "config.yaml").read_text().replace("fold: 0\n", "fold: 2\n")
    (again / "config.yaml").write_text(config)
    with pytest.raises(RunError, match="fold 2 has scored items of another fold"):
        join_folds(read([folders[0], folders[1], again]))


def test_a_small_trial_does_not_shrink_a_report(make_run, tmp_path, capsys):
    whole = make_run(tmp_path, modal="v", config={"data": {"limit": None}})
    trial = make_run(tmp_path, modal="av", n=12, config={"data": {"limit": 12}})
    assert main([str(whole), str(trial), "--out", str(tmp_path / "report")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "report/report.json").read_text())["n"] == N
    assert "has scores for 12 items and another run for 120; it is left out" in printed
