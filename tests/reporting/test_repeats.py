"""Runs over random splits of one data set: each on its own items, then the median."""

import csv
import json
from statistics import median

import pytest
from scipy import stats

from evqa.errors import RunError
from evqa.report import main
from evqa.reporting.repeats import repeats, sentences
from evqa.reporting.runs import read_run


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_run, keep):
    root, made = tmp_path_factory.mktemp("repeated"), []
    for modal in ("v", "av"):
        for seed in range(3):
            given = [f"modal={modal}", f"data.split_seed={seed}"]
            config = {"data": {"split_seed": seed, "fold": None}}
            made.append(make_run(root, modal=modal, overrides=given, config=config, name=f"{modal}-{seed}"))
            keep(made[-1], part=seed)
    return made


def test_every_repeat_counts_on_its_own_items_and_the_median_is_reported(folders, tmp_path, capsys):
    runs = [read_run(folder, split="val") for folder in folders]
    best, other = repeats(runs, metric="srocc")
    assert (best.name, other.name) == ("modal=av", "modal=v")
    values = [
        stats.spearmanr(list(run.scores.values()), [run.items[name].label for name in run.scores]).statistic
        for run in runs
        if "modal=v" in run.overrides
    ]
    assert list(other.values["srocc"].values()) == pytest.approx(values)
    assert other.median("srocc") == pytest.approx(median(values))
    assert set(other.num_items.values()) == {40}
    assert list(other.num_items) == [f"data.split_seed={seed}, seed=0" for seed in range(3)]
    assert sentences((best, other), metric="srocc")[0].startswith(
        "modal=av is better than modal=v in 3 of 3 repeats; med"
    )

    lasts = [
        median(next(row for row in reversed(run.history) if "val/srocc" in row)["val/srocc"] for run in three)
        for three in (runs[3:], runs[:3])
    ]
    assert sentences((best, other), metric="srocc")[1] == (
        "Each checkpoint was chosen on its repeat's own items, so its srocc is too good; medians of the last "
        f"validations: modal=av {lasts[0]:.3f}; modal=v {lasts[1]:.3f}."
    )
    assert len(sentences(repeats(runs, metric="srocc", split="test"), metric="srocc")) == 1

    arguments = [*map(str, folders), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--repeats", "--metric", "srocc"]) == 0
    printed = capsys.readouterr().out
    assert f"{other.median('srocc'):.3f}" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    with (tmp_path / "out/repeats.csv").open(newline="") as file:
        rows = [float(row["srocc"]) for row in csv.DictReader(file) if row["setting"] == "modal=v"]
    assert rows == list(other.values["srocc"].values())
    written = json.loads((tmp_path / "out/repeats.json").read_text())
    assert written["settings"][1]["srocc"]["median"] == other.median("srocc")
    assert main(arguments) == 2
    assert "no labelled item in common; report them separately, or with --repeats" in capsys.readouterr().err


def test_what_would_be_another_median_is_refused(folders, tmp_path, make_run, capsys):
    unfinished = make_run(tmp_path, overrides=["data.split_seed=9"], finished=False, name="late")
    runs = [read_run(folder, split="val") for folder in folders]
    with pytest.raises(
        RunError, match=r"some of the repeats is another number; these are missing:\n  .*late: no predic"
    ):
        repeats([*runs, read_run(unfinished, split="val")], metric="srocc")
    with pytest.raises(
        RunError, match=r"two runs are of data\.split_seed=0, seed=0; repeats differ in data\.split_seed"
    ):
        repeats([*runs, runs[0]], metric="srocc")
    assert main([str(folders[0]), "--out", str(tmp_path / "out"), "--repeats", "--baseline", "modal=v"]) == 2
    assert "--baseline: --repeats writes medians" in capsys.readouterr().err
