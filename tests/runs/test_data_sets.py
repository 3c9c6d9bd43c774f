"""A scorer over data sets: the table's numbers, what a kill or a missing data set costs, and what is refused."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats

from evqa.eval import main
from evqa.runs import data_sets
from tests.metrics.test_logistic import four
from tests.models.vqa2 import reference
from tests.runs.test_agreement import read
from tests.scoring.test_vqa2 import write_video

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def write(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def sets(data, finished, tmp_path):
    """Arguments that score two data sets: a table of MOS with a missing video, and SnapUGC's form with a test table.

    The MOS is made of the scores, so that they have something in common.
    """
    (tmp_path / "videos").symlink_to(data / "videos")
    scores = read(finished.prediction("val"))
    noise = np.random.default_rng(0).normal(size=len(scores))
    labels = np.clip(3 + stats.zscore(list(scores.values())) + 0.4 * noise, 1, 5)
    texts = {row["Id"]: row for row in csv.DictReader((data / "val.csv").read_text().splitlines())}
    mos = [
        (id_, label, texts[id_]["Title"], texts[id_]["Description"]) for id_, label in zip(scores, labels, strict=True)
    ]
    write(tmp_path / "mos.csv", ["name", "mos", "title", "about"], [*mos, ("gone", 3, "", "")])
    shutil.copy(data / "val.csv", tmp_path / "test.csv")
    write(tmp_path / "train.csv", ["Id", "Title", "Description", "ECR"], [("not there", "", "", 0.5)])
    return [
        *("--scorer", str(finished.path), "--data", "table,snapugc", "--out", str(tmp_path / "out")),
        *overrides(tmp_path),
    ]


def only(arguments, name):
    """The same for one of the data sets."""
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return [
        word
        for flag, value in pairs
        if flag != "--override" or value.startswith((f"{name}.", "data."))
        for word in (flag, name if flag == "--data" else value)
    ]


def overrides(home, **changed):
    keys = {
        "data.prepared": home / "prepared",
        "data.batch_size": 4,
        "table.path": home / "mos.csv",
        "table.root": home / "videos",
        "table.id_column": "name",
        "table.title_column": "title",
        "table.description_column": "about",
        "table.label.range": "[1,5]",
        "snapugc.csv": home / "train.csv",
        "snapugc.test_csv": home / "test.csv",
        "snapugc.videos": home / "videos",
    }
    return [word for key, value in (keys | changed).items() for word in ("--override", f"{key}={value}")]


def table(folder):
    return {row["data"]: row for row in csv.DictReader((folder / "table.csv").read_text().splitlines())}


def scored(folder, name):
    """Scores and labels of a data set, as vectors."""
    scores = read(folder / f"predictions/{name}.csv")
    rows = csv.DictReader((folder / f"predictions/{name}.targets.csv").read_text().splitlines())
    labels = {row["Id"]: float(row[list(row)[1]]) for row in rows}
    return np.array([[scores[id_], labels[id_]] for id_ in scores]).T


@pytest.mark.slow
def test_a_fresh_process_scores_data_sets_into_one_table_whose_numbers_are_scipys(sets, finished, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "evqa.eval", *sets], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    out = tmp_path / "out"
    rows = table(out)
    assert [(row["part"], row["n"], row["num_failed"]) for row in rows.values()] == [
        ("all labelled", "16", "1"),
        ("test", "16", "0"),  # the bad row of the training table is not the test's
    ]
    for name, row in rows.items():
        scores, labels = scored(out, name)
        number = {
            key: float(value) for key, value in row.items() if key.startswith(("srocc", "plcc", "krocc")) and value
        }
        assert number["srocc"] == pytest.approx(stats.spearmanr(scores, labels).statistic)
        assert number["plcc"] == pytest.approx(stats.pearsonr(scores, labels).statistic)
        assert number["krocc"] == pytest.approx(stats.kendalltau(scores, labels).statistic)
        assert number["srocc_low"] < number["srocc"] < number["srocc_high"]
    scores, labels = scored(out, "table")
    start = [labels.max(), labels.min(), scores.mean(), scores.std() / 4]
    curve = four(scores, *optimize.curve_fit(four, scores, labels, p0=start, maxfev=100_000)[0])
    assert float(rows["table"]["plcc_fitted_4"]) == pytest.approx(stats.pearsonr(curve, labels).statistic, abs=1e-4)
    assert float(rows["table"]["rmse_fitted_4"]) == pytest.approx(np.sqrt(np.mean((curve - labels) ** 2)), abs=1e-3)
    trained = read(finished.prediction("val"))
    assert dict(zip(read(out / "predictions/table.csv"), scores, strict=True)) == pytest.approx(
        {id_: 1 + 4 * score for id_, score in trained.items()}, abs=1e-4
    )
    assert read(out / "predictions/snapugc.csv") == pytest.approx(trained, abs=1e-5)
    record = json.loads((out / "predictions/table.json").read_text())
    assert record["label"] == {"name": "mos", "range": [1.0, 5.0]}
    assert [failure["id"] for failure in record["failures"]] == ["gone"]
    printed = done.stdout.splitlines()
    assert max(len(line) for line in printed if str(tmp_path.parent) not in line) <= 80  # paths are left whole
    assert any(line.startswith("snapugc") and f"{float(rows['snapugc']['srocc']):.3f}" in line for line in printed)
    said = " ".join(done.stdout.split())
    assert "table: scores were mapped from ECR on 0..1 to mos on 1..5." in said
    assert "table: the scorer's label (ECR) measures engagement, this one quality." in said
    assert "table: 1 failed, the first: gone: " in said


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_leaves_what_an_undisturbed_one_leaves(sets, tmp_path):
    """The first life dies in the second data set, behind a whole batch and a half."""
    undisturbed = [argument.replace("/out", "/whole") for argument in sets]
    at = ["evqa.runs.data_sets", "outcome_of", int(signal.SIGKILL), 16 + 7]
    lives = [(sets, at), (sets, None), (sets, None), (undisturbed, None)]
    lines = [json.dumps({"command": "eval", "arguments": arguments, "at": at}) for arguments, at in lives]
    done = subprocess.run(
        [sys.executable, ROOT / "tests/runs/lives.py"],
        **{"input": "\n".join(lines) + "\n", "env": ENVIRONMENT, "capture_output": True, "text": True, "check": True},
    )
    assert done.stdout.split() == [str(-signal.SIGKILL), "0", "0", "0"]
    said = " ".join(done.stderr.split())
    assert "snapugc: 4 of 16 were scored before; this goes on behind them." in said
    assert said.count("table: scored by the same command before, and not again") == 2
    assert said.count("snapugc: scored by the same command before, and not again") == 1
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert len(files) == 2 + 2 * 3
    for file in files:
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_missing_data_set_costs_its_row_and_is_scored_when_it_is_there(sets, tmp_path, capsys, monkeypatch):
    (tmp_path / "mos.csv").rename(tmp_path / "later.csv")
    with pytest.raises(SystemExit, match="2"):
        main(sets)
    said = capsys.readouterr()
    assert "1 of 2 data sets could not be scored; the others are kept" in said.err
    assert f"  table: {tmp_path}/mos.csv: no such table" in said.err
    assert "not scored" in said.out
    rows = table(tmp_path / "out")
    assert rows["table"]["problem"].startswith(f"{tmp_path}/mos.csv: no such table")
    assert (rows["table"]["n"], rows["snapugc"]["n"]) == ("", "16")
    (tmp_path / "later.csv").rename(tmp_path / "mos.csv")
    asked = []
    monkeypatch.setattr(
        data_sets, "outcome_of", lambda score, real=data_sets.outcome_of: asked.append(score) or real(score)
    )
    main(sets)
    assert len(asked) == 16
    assert table(tmp_path / "out")["table"]["n"] == "16"


def test_ctrl_c_says_what_is_kept_and_another_command_does_not_replace_it(sets, tmp_path, capsys, monkeypatch):
    left, real = iter(range(6)), data_sets.outcome_of

    def interrupted(score):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(score)

    with monkeypatch.context() as patched:
        patched.setattr(data_sets, "outcome_of", interrupted)
        with pytest.raises(SystemExit, match="130"):
            main(sets)
    assert "Stopped after 6 of 16 items of table, which are kept in" in capsys.readouterr().err
    main(sets)
    other = [*sets, "--modal", "v"]
    with pytest.raises(SystemExit, match="2"):
        main(other)
    assert "predictions/table.csv belongs to a command with another --modal" in capsys.readouterr().err
    (tmp_path / "out/predictions/snapugc.json").write_text("{")
    with pytest.raises(SystemExit, match="2"):
        main(sets)
    assert "snapugc.json is damaged or cut short" in capsys.readouterr().err
    main([*other, "--overwrite", "--override", "table.description_column=null"])
    said = " ".join(capsys.readouterr().out.split())
    assert "table: no row has a description, which the scorer's question names." in said
    assert json.loads((tmp_path / "out/table.json").read_text())["modal"] == "v"


def test_training_items_are_said_to_be_no_test_and_a_limit_takes_some(finished, workplace, tmp_path, capsys):
    own = [f"synthetic.{key}" for key in (f"folder={workplace}/synthetic", "num_train=40", "num_val=16", "limit=20")]
    given = [word for key in [*own, f"data.prepared={tmp_path}/prepared"] for word in ("--override", key)]
    main(["--scorer", str(finished.path), "--data", "synthetic", "--out", str(tmp_path / "out"), *given])
    row = table(tmp_path / "out")["synthetic"]
    assert (row["part"], row["n"]) == ("all labelled, limited", "20")
    assert "of 20 items are in the scorer's training data, so this is no test of it." in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give RUN, or both --scorer PLACE and --data NAME,NAME."),
        (["--scorer", "x"], "Give RUN, or both --scorer PLACE and --data NAME,NAME."),
        (["runs/a", "--data", "table"], "RUN and --data: RUN scores its own data; for data sets write --scorer runs/a"),
        (["--scorer", "x", "--data", "table", "--split", "val"], "--split val: belongs to RUN."),
        (["--scorer", "x", "--data", "tabel"], "--data tabel: there is no data set 'tabel'. Did you mean 'table'?"),
        (["--scorer", "x", "--data", "table,table"], "--data table,table: table stands there twice"),
        (["--scorer", "x", "--data", "table"], "--data table: table.root: needs a value (expected str)."),
        (
            ["--scorer", "x", "--data", "table", "--override", "table.batch_size=1"],
            "--override table.batch_size=1: the scorer reads all data sets alike; write data.batch_size=VALUE.",
        ),
        (
            ["--scorer", "x", "--data", "synthetic", "--override", "table.path=a.csv"],
            "--override table.path=a.csv: table is not one of --data synthetic.",
        ),
        (
            ["--scorer", "x", "--data", "synthetic", "--override", "data.num_vall=16"],
            "--data synthetic: synthetic.num_vall: Synthetic takes no argument 'num_vall'. Did you mean 'num_val'?",
        ),
        (["--scorer", "nowhere", "--data", "synthetic"], "nowhere: is not there. A scorer is a run folder"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_scorer_that_answers_in_words_is_refused_before_anything_is_read(sets, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("evqa.heads.regression.RegressionHead.gives_scores", False)
    with pytest.raises(SystemExit, match="2"):
        main(sets)
    assert "This scorer gives no scores: its head (RegressionHead) answers in words." in capsys.readouterr().err
    assert not (tmp_path / "prepared").exists()


def test_without_labels_nothing_is_compared(sets, tmp_path, capsys):
    write(tmp_path / "test.csv", ["Id", "Title", "Description"], [("clip_00000", "", "")])
    with pytest.raises(SystemExit, match="2"):
        main(only(sets, "snapugc"))
    assert "snapugc: none of the 1 rows of its test table has a label (ECR)" in capsys.readouterr().err
    assert not (tmp_path / "out/table.csv").exists()


@pytest.mark.slow
def test_a_published_scorer_stands_beside_its_published_numbers(vqa2, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "data/konvid1k"
    for folder in ("KoNViD_1k_videos", "KoNViD_1k_metadata"):
        (home / folder).mkdir(parents=True)
    for seed in range(5):
        write_video(home / f"KoNViD_1k_videos/{seed}.mp4", frames=36, fps=12, size=(64, 48), seed=seed)
    write(
        home / "KoNViD_1k_metadata/KoNViD_1k_mos.csv", ["flickr_id", "mos"], [(name, 1 + name % 4) for name in range(5)]
    )
    weights = [f"model.checkpoint={reference.write_checkpoint(tmp_path / 'weights')}", "model.dtype=float32"]
    given = [*weights, "trainer.precision=32", "trainer.accelerator=cpu"]
    with pytest.raises(SystemExit, match="2"):
        main(["--scorer", "vqa2_ugc", "--data", "konvid1k,ytugc", *(w for key in given for w in ("--override", key))])
    captured = capsys.readouterr()
    assert "name the folder that holds both with --override ytugc.root=FOLDER." in " ".join(captured.err.split())
    said = " ".join(captured.out.split())
    assert "published 1200 0.894 " in said
    assert "konvid1k: the published list has 1200 items, here 5 are scored" in said
    assert "VQA²-UGC-Scorer: read off a figure (Jia et al." in said
    row = table(tmp_path / "evaluations/vqa2_ugc")["konvid1k"]
    assert (row["n"], row["label_high"], row["published_plcc"]) == ("5", "5.0", "0.884")
