"""VQA²'s tiny twin learns to answer yes or no about distortions, in two runs of which one starts from the other."""

import json

import pytest

import evqa
from evqa.config import identity
from evqa.config.compose import compose
from evqa.runs.fit import run as fit
from evqa.training.callbacks.records import read_rows
from evqa.training.folder import RunFolder
from evqa.training.plan import read_data_plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Train by the two recipes; returns the second run's folder and configuration."""
    home = tmp_path_factory.mktemp("demo")
    places = (f"data.folder={home}/made", f"data.prepared={home}/prepared", f"data.cache.folder={home}/clips")
    for recipe in ("vqa2_demo_stage1", "vqa2_demo"):
        quiet = ("trainer.progress=false", "logger=csv", "data.workers=1", f"run.root={home}/runs")
        config = compose([f"experiment={recipe}", *places, *quiet])
        fit(config)
    return RunFolder(identity.folder(config)), config


def test_answers_about_clips_never_seen_rise_from_chance_to_four_of_five(demo):
    folder, _ = demo
    record = json.loads(folder.prediction("val", "json").read_text())
    first = next(row for row in read_rows(folder.path / "metrics.jsonl") if "val/accuracy" in row)
    assert first["val/accuracy"] < 0.75  # yes and no are equally often right
    assert record["metrics"]["accuracy"]["value"] > 0.8
    assert record["n"] == 960


def test_the_accuracy_is_that_of_the_answers_to_the_questions_asked_anew(demo):
    folder, config = demo
    validation = read_data_plan(config).dataset.load().splits["val"]
    scorer = evqa.load(folder.path, batch_size=16)
    pairs = zip(scorer.ask(validation), validation, strict=True)
    right = [answer.text == record.turns[-1].text for answer, record in pairs]
    accuracy = json.loads(folder.prediction("val", "json").read_text())["metrics"]["accuracy"]["value"]
    assert sum(right) / len(right) == pytest.approx(accuracy, abs=1e-9)
