"""Members that are made of the folds of a data set."""

import shutil

import numpy as np
import pytest

from evqa.config.folds import CHOSEN, POOLED
from evqa.ensemble import main
from evqa.ensembling import read_members
from evqa.errors import RunError
from evqa.metrics import read_scores, write_scores
from evqa.reporting.folds import join_folds
from evqa.reporting.runs import read_run
from tests.reporting.conftest import N, keep_part, write_run


@pytest.fixture
def folds(tmp_path):
    """Two modalities, three folds of each, as a shell lists them."""
    made = []
    for modal in ("av", "v"):
        for fold in (2, 0, 1):
            config = {"data": {"folds": 3, "fold": fold}}
            made.append(write_run(tmp_path, modal=modal, config=config, name=f"{modal}-{fold}"))
            keep_part(made[-1], part=fold)
    return made


def read(sources, *, split="val", common=False):
    return read_members(list(map(str, sources)), split=split, targets=None, label=None, common=common)


def give_test_scores(folders, *, without=None):
    """Scores of six test items: those of fold k are k higher."""
    for folder in folders:
        scores = {f"t{place}": float(place + int(folder.name[-1])) for place in range(6)}
        if folder.name == without:
            scores.pop("t0")
        write_scores(folder / "predictions" / "test.csv", scores, label="ECR")


def test_the_folds_of_a_setting_are_one_member_with_the_scores_that_a_report_gives_them(folds):
    members = read(folds)
    assert members.names == ("av-0 and the other folds", "v-0 and the other folds")
    assert (len(members.ids), len(set(members.ids)), members.left_out) == (N, N, ())
    assert members.notes == (POOLED, CHOSEN)
    assert [[file.parts[-3] for file in member] for member in members.files] == [
        [f"{modal}-{fold}" for fold in range(3)] for modal in ("av", "v")
    ]
    assert not np.isnan(members.labels_N).any()
    for run, scores in zip(
        join_folds([read_run(f, split="val") for f in folds]).runs, members.scores_NM.T, strict=True
    ):
        assert dict(zip(members.ids, scores, strict=True)) == run.scores


def test_folds_and_runs_over_all_items_are_combined(folds, tmp_path, capsys):
    whole = write_run(tmp_path, modal="a", name="whole")
    assert main([*map(str, folds), str(whole), "--out", str(tmp_path / "out.csv"), "--method", "stack"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Ensemble 'stack' of 3, n = 120" in printed
    assert f"Note: {POOLED} Note: {CHOSEN} Wrote" in printed
    assert read_scores(tmp_path / "out.csv").values.keys() == {f"clip_{place:04d}" for place in range(N)}


def test_one_name_for_all_folds_is_the_members_name(folds):
    assert read([*(f"picture={folder}" for folder in folds[3:]), *folds[:3]]).names[0] == "picture"


def test_folds_that_are_not_complete_are_named_and_left_out(folds):
    members = read(folds[1:])
    assert members.names == ("v-0 and the other folds",)
    assert members.left_out == ("av-0 and the other folds: of its 3 folds 2 have no scores; left out.",)
    with pytest.raises(RunError, match=r"^av-0 and the other folds: of its 3 folds 2 have no scores; left out\.$"):
        read(folds[1:3])
    assert read(folds[1::3]).names == ("av-0", "v-0")  # one fold of two settings: nothing is joined


def test_where_all_folds_have_scored_the_same_items_the_member_is_their_mean(folds, tmp_path, capsys):
    give_test_scores(folds)
    members = read(folds, split="test")
    assert members.scores_NM.tolist() == [[place + 1, place + 1] for place in range(6)]
    assert members.names == ("av-0 and the other folds", "v-0 and the other folds")
    assert members.notes == (
        "All folds have scored the same items; the member is the mean of their scores: av-0 and the other folds, "
        "v-0 and the other folds.",
    )
    sources = list(map(str, folds))
    assert main([*sources, "--method", "weights", "--out", str(tmp_path / "val.csv")]) == 0
    capsys.readouterr()
    given = ["--split", "test", "--weights", str(tmp_path / "val.json"), "--out", str(tmp_path / "test.csv")]
    assert main([*reversed(sources), *given]) == 0
    assert "by position" not in capsys.readouterr().out


def test_items_of_some_folds_alone_are_refused(folds, tmp_path, capsys):
    give_test_scores(folds, without="av-1")
    assert main([*map(str, folds), "--split", "test", "--out", str(tmp_path / "out.csv")]) == 2
    assert capsys.readouterr().err == (
        "av-0 and the other folds: fold 1 has scored items of another fold, for instance t1, t2, t3, t4, t5. Folds "
        "share no item, or all.\n"
    )


def test_a_fold_that_is_given_twice_is_refused(folds, tmp_path):
    again = shutil.copytree(folds[0], tmp_path / "again")
    with pytest.raises(
        RunError, match=r"av-2 and .*again are both data\.fold=2 of the same settings: leave one out\.$"
    ):
        read([*folds, again])
