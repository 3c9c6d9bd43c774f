"""Ctrl-C in commands that work for long: a sentence, status 130, and nothing half-written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evqa.metrics import write_scores
from tests.reporting.conftest import write_run

# argv: the function in whose so-manieth call Ctrl-C comes, then the command.
PROGRAM = """
import importlib, os, signal, sys, time
module, name, call, command, *arguments = sys.argv[1:]
place, left = importlib.import_module(module), [int(call)]
real = getattr(place, name)
def pressed(*given, **named):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    return real(*given, **named)
setattr(place, name, pressed)
raise SystemExit(importlib.import_module(f"evqa.{command}").main(arguments))
"""
PLACES = {
    "report reading": ("evqa.reporting.runs", "read_run", 2, "while reading runs, 1/3"),
    "report resampling": ("evqa.metrics.resampling", "metrics_of", 5, "while resampling the items of runs, 833/2000"),
    "report drawing": ("evqa.reporting.plots", "save", 2, "while drawing pictures, 1/6"),
    "report elsewhere": ("evqa.reporting.comparing", "compare", 1, "before the report was written"),
    "ensemble judging": ("evqa.ensembling.judgement", "out_of_fold", 2, "while judging weights, 1/3"),
    "ensemble elsewhere": ("evqa.ensembling", "read_members", 1, "before the prediction was written"),
    "merge loading": ("evqa.runs.merging", "load_run", 1, "while loading the run"),
}


@pytest.fixture
def arguments(tmp_path):
    for modal in ("a", "v", "av"):
        write_run(tmp_path / "runs", modal=modal)
    rng = np.random.default_rng(0)
    for name in ("x", "y", "targets"):
        scores = dict(zip(map(str, range(60)), rng.uniform(size=60), strict=True))
        write_scores(tmp_path / f"{name}.csv", scores, label="ECR")
    files = [str(tmp_path / f"{name}.csv") for name in ("x", "y", "targets")]
    return {
        "report": [str(tmp_path / "runs"), "--out", str(tmp_path / "report")],
        "ensemble": [*files[:2], "--targets", files[2], "--method", "weights", "--out", str(tmp_path / "out.csv")],
        "merge": [str(tmp_path / "run"), "--out", str(tmp_path / "out")],
    }


@pytest.mark.parametrize("where", PLACES)
def test_ctrl_c_ends_with_a_sentence_and_130(where, arguments, tmp_path):
    *place, sentence = PLACES[where]
    command = where.partition(" ")[0]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, place), command, *arguments[command]],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has it ignored
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == f"Stopped {sentence}; the same command begins anew."
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report" / "report.html").exists()
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "out").exists()
