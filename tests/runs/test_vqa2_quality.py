"""VQA²'s tiny twin learns a known quality by words, and the motion branch is what sees frame drops."""

import csv

import numpy as np
import pytest

from evqa.config import identity
from evqa.config.compose import compose
from evqa.metrics.correlation import srocc
from evqa.metrics.paired import paired_difference
from evqa.runs import fit
from evqa.training.folder import RunFolder

pytestmark = pytest.mark.slow


def column(path, name):
    with path.open(newline="") as file:
        return np.array([float(row[name]) for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train by the recipe, with motion, and without until nothing more is learned."""
    home = tmp_path_factory.mktemp("quality")
    places = (f"data.folder={home}/made", f"data.prepared={home}/prepared", f"data.cache.folder={home}/clips")
    found = {}
    # Key frames alone take longer until something is learned at all; an epoch of them costs a quarter.
    for name, more in {"motion": (), "still": ("model.motion=null", "trainer.epochs=12")}.items():
        quiet = ("trainer.progress=false", "logger=csv", "data.workers=1", f"run.root={home}/runs", f"run.name={name}")
        config = compose(["experiment=vqa2_quality_tiny", *places, *quiet, *more])
        fit.run(config)
        found[name] = RunFolder(identity.folder(config))
    return found


def test_words_teach_quality_and_motion_is_what_sees_frame_drops(runs):
    moving, still = (column(run.prediction("val"), "mos") for run in runs.values())
    targets = runs["motion"].prediction("val", "targets.csv")
    mos, drops = column(targets, "mos"), column(targets, "drops")
    assert srocc(moving, mos).value > 0.75
    assert srocc(still, mos).value > 0.6
    assert abs(srocc(still, drops).value) < 0.15
    assert paired_difference(moving, still, mos, metric="srocc").low > 0
    assert paired_difference(moving, still, -drops, metric="srocc").low > 0
