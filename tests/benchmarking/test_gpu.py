"""`benchmark gpu`: all parts on the tiny model, on a machine that has little installed; and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from evqa import benchmark
from evqa.benchmarking.gpu import run
from evqa.benchmarking.gpu.results import Results
from evqa.benchmarking.gpu.run import TimeShares
from evqa.benchmarking.gpu.settings import PARTS, Row, overrides_of
from evqa.training.plan import read_plan
from tests.models.toys import COMPOSER

# What a machine with torch, transformers, peft, lightning and Hydra alone does not have.
ABSENT = (
    *("av", "pandas", "wandb", "sklearn", "scikit_learn", "matplotlib", "PIL", "pillow", "decord", "scipy", "xxhash"),
    *(
        "soundfile",
        "submitit",
        "pyarrow",
        "optuna",
        "bitsandbytes",
        "liger_kernel",
        "torchvision",
        "mlflow",
        "trackio",
        "tensorboard",
    ),
)
TINY = ["--device=cpu", "--size=tiny"]
SHORT = """
from evqa.benchmarking.gpu.settings import PARTS
for name, (rows, share) in PARTS.items():
    kept = [row for place, row in enumerate(rows) if not place or row.change or row.needs or name == 'baseline']
    PARTS[name] = (kept, share)
"""
RUN = f"{SHORT}\nimport sys\nfrom evqa import benchmark\nbenchmark.main(['gpu', *sys.argv[1:]])"


def shorten(monkeypatch):
    """One row of a kind, in this process."""
    before = dict(PARTS)
    exec(SHORT, {})
    after = dict(PARTS)
    PARTS.update(before)
    for name in PARTS:
        monkeypatch.setitem(PARTS, name, after[name])


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder of a run of all parts, where only few packages can be imported."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("gpu")
    for place in Path(sysconfig.get_paths()["purelib"]).iterdir():
        name = place.name.lower()
        absent = any(name == one.lower() or name.startswith((f"{one.lower()}-", f"{one.lower()}.")) for one in ABSENT)
        if not absent and place.suffix != ".pth":
            (site / place.name).symlink_to(place)
    path = os.pathsep.join([str(site), str(Path(__file__).parents[2])])
    command = [sys.executable, "-S", "-c", RUN, *TINY, f"--out={folder}", "--minutes=9"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no gpu.png: matplotlib is not installed" in " ".join(done.stdout.split())
    return folder


def rows_of(folder):
    rows = json.loads((folder / "gpu.json").read_text())["rows"]
    return {(row["part"], row["name"]): row for row in rows}


def test_every_part_runs_where_little_is_installed(measured):
    rows = rows_of(measured)
    without = {place: row["why"] for place, row in rows.items() if row["state"] != "measured"}
    liger = ("without recomputation, compiled, liger's kernels", "liger's kernels")
    assert without == {
        **{("train", name): "needs the package liger_kernel" for name in liger},
        ("qlora", "QLoRA, batch 4"): "needs the package bitsandbytes",
        ("qlora", "QLoRA, batch 1"): "needs the package bitsandbytes",
        ("baseline", "published order of work"): "needs the package PIL",
        ("count", "adapters as peft computes them"): "no setting of it can be counted",
        ("count", "frozen encoders under autocasting"): "no setting of it can be counted",
    }
    assert {part for part, _ in rows} == set(PARTS)
    recipe = rows["train", "recipe (batch 4)"]["figures"]
    parts = {part["part"] for part in recipe["parts"] if part["phase"] == "backward"}
    assert {"language", "connector", "audio_connector"} <= parts
    counted = rows["count", "recipe (batch 4)"]["figures"]
    assert counted["card"] == "H200"
    assert counted["all_flops"] > counted["model_flops"] > 0
    precisions = rows["parity", "bfloat16 beside float32"]["figures"]["precisions"]
    assert precisions["bf16"]["srocc"] > 0.5
    assert precisions["bf16"]["largest_difference"] > precisions["32"]["largest_difference"] == 0


def test_what_is_there_is_not_run_again_and_what_is_missing_is(measured, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(measured, tmp_path / "gpu")
    shorten(monkeypatch)
    benchmark.main(["gpu", *TINY, f"--out={folder}"])
    before, after = rows_of(measured), rows_of(folder)
    changed = {place for place in after if after[place] != before[place]}
    assert changed == {("baseline", "published order of work")}
    assert after["baseline", "published order of work"]["figures"]["reading_ms"] > 0
    assert "baseline: published order of work: measured" in " ".join(capsys.readouterr().out.split())
    assert (folder / "gpu.png").read_bytes()[:4] == b"\x89PNG"
    text = (folder / "gpu.md").read_text()
    sections = [line for line in text.splitlines() if line.startswith("## ")]
    assert sections == ["## Training", "## Scoring", "## Beside the published code's order of work",
                        "## Scores in bfloat16", "## Qwen's encoders", "## Not measured"]  # fmt: skip
    assert "- qlora, QLoRA, batch 4: left out (needs the package bitsandbytes)" in text


def test_a_row_that_does_not_fit_or_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    def measure(bench, row):
        if row.name == "large":
            raise torch.OutOfMemoryError("CUDA out of memory")
        if row.name == "wrong":
            raise ValueError("first line\nsecond line")
        return {"samples_per_second": 2.0, "step_ms": {"median": 1.0}, "peak_bytes": 1e9, "busy_share": None}

    monkeypatch.setattr(run, "score", measure)
    monkeypatch.setitem(PARTS, "score", ((Row("large"), Row("wrong"), Row("small")), 1.0))
    with pytest.raises(SystemExit) as caught:
        benchmark.main(["gpu", *TINY, "--only=score", f"--out={tmp_path}"])
    assert caught.value.code == 2
    assert "1 rows failed: score: wrong (ValueError: first line)" in capsys.readouterr().err
    states = {name: row["state"] for (_, name), row in rows_of(tmp_path).items()}
    assert states == {"large": "out of memory", "wrong": "failed", "small": "measured"}
    assert "- score, large: out of memory (does not fit the card's memory)" in (tmp_path / "gpu.md").read_text()
    monkeypatch.setitem(PARTS, "score", ((Row("small"), Row("late")), 1.0))
    monkeypatch.setattr(TimeShares, "left", lambda self, part: -1.0)
    benchmark.main(["gpu", *TINY, "--only=score", "--again", f"--out={tmp_path}"])
    late = {name: row["why"] for (_, name), row in rows_of(tmp_path).items()}
    assert late == {"small": "no time was left", "late": "no time was left"}


def test_time_that_a_part_leaves_is_the_next_ones():
    budget = TimeShares(100.0, ["train", "score"])
    train, score = (PARTS[name][1] for name in ("train", "score"))
    assert budget.left("train") == pytest.approx(100 * train / (train + score), abs=1)
    assert budget.left("score") == pytest.approx(100, abs=1)


def test_all_rows_name_settings_that_there_are():
    known = set()
    for part, (rows, _) in PARTS.items():
        for row in () if part == "qwen" else rows:
            overrides = tuple(overrides_of(row, size="published", device="cuda"))
            if overrides not in known:
                known.add(overrides)
                read_plan(COMPOSER.compose(overrides))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only=train"], "this machine has no GPU that torch can use, and train need one."),
        (["--device=cpu"], "--device cpu: models of the published size would take days; add --size tiny."),
        (["--only=trian"], "there is no part 'trian'. Did you mean 'train'?"),
        ([*TINY, "--out=/proc/x"], "--out: /proc/x cannot be made (No such file or directory)."),
        ([*TINY, "--minutes=0"], "--minutes is 0; it must be more than 0."),
        ([*TINY, "model=tiny"], "model=tiny: 'gpu' takes no settings; its rows are in"),
        ([*TINY, "--json=x.json"], "--json: 'gpu' writes its files to --out DIR."),
    ],
)
def test_mistakes_end_with_a_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as caught:
        benchmark.main(["gpu", *arguments])
    assert caught.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_figures_of_another_card_are_not_mixed(tmp_path, monkeypatch):
    results = Results(tmp_path)
    results.begin({"device": "NVIDIA H100", "size": "published"})
    with pytest.raises(Exception, match="holds figures of device 'NVIDIA H100', and this is 'NVIDIA H200'"):
        results.begin({"device": "NVIDIA H200", "size": "published"})
    (tmp_path / "gpu.json").write_text("[]")
    with pytest.raises(Exception, match="not what 'benchmark gpu' writes"):
        Results(tmp_path)
