"""Predictions as they are read, brought together, written and checked."""

import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evqa.ensembling import check_submission, read_members, write_submission
from evqa.errors import AnnotationError, RunError


def test_labelled_items_and_the_fingerprint_of_their_labels(members):
    known = members(labels_N=np.array([0.25, math.nan, 1.0]))
    scores, labels, groups = known.labelled()
    assert groups is None
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
        assert (info.external_attr >> 16, info.date_time) == (0o644, (1980, 1, 1, 0, 0, 0))
        assert archive.read("sub.csv") == path.read_bytes()
    with pytest.raises(AnnotationError) as error:
        write_submission(tmp_path / "bad.csv", ["x", "y"], np.array([0.5, math.inf]), label="ECR", zipped=False)
    assert str(error.value) == "1 of 2 combined scores are not finite: y. Nothing is written."
    assert not (tmp_path / "bad.csv").exists()


@pytest.mark.parametrize(
    ("rows", "label", "sentence"),
    [
        ({"x": 1, "y": 2}, "MOS", "the first line is 'Id,MOS', it must be exactly 'Id,ECR'."),
        ({"x": 1}, "ECR", "1 of the 2 ids are missing: y."),
        ({"x": 1, "y": 2, "w": 3, "v": 3}, "ECR", "2 ids are unknown: w, v."),
    ],
)
def test_a_wrong_submission_is_told_by_its_ids(tmp_path, rows, label, sentence):
    path = table(tmp_path / "sub.csv", rows, label=label)
    with pytest.raises(AnnotationError) as error:
        check_submission(path, ["x", "y"], label="ECR")
    assert str(error.value) == f"{path}: {sentence}"
    check_submission(path, list(rows), label=label)


def test_the_first_table_that_names_an_items_group_decides(here):
    for name, group in (("p", "Ann"), ("q", "Bea")):
        table(here / f"{name}/predictions/val.csv", dict(zip("xyz", (1, 2, 3), strict=True)))
        kept = here / f"{name}/predictions/val.targets.csv"
        kept.write_text(f"Id,ECR,group\nx,0.1,{group}\ny,0.2,\nz,,{group}\n")
    assert read("p", "q").groups == ("Ann", None, "Ann")
    assert read("q", "p").labelled()[2] == ["Bea", None]
    (here / "t.csv").write_text("Id,ECR,group\nz,0.3,Cy\ny,0.2,Cy\n")
    assert read("p", "q", targets=here / "t.csv", common=True).groups == ("Cy", "Cy")
    assert read("a.csv", "b.csv").groups is None
