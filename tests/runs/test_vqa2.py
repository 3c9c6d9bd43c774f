"""VQA²'s protocols and recipes, trained at toy size on clips of known quality and scored again."""

import csv
import json

import pytest

import evqa
from evqa.config import identity
from evqa.config.compose import compose
from evqa.config.paths import conf_folder, group_options
from evqa.runs.evaluation import evaluate_split
from evqa.runs.fit import run as fit
from evqa.runs.merging import export_run
from evqa.training.folder import RunFolder
from evqa.training.plan import read_data_plan
from tests.runs.test_agreement import read

pytestmark = pytest.mark.slow
PROTOCOLS = [
    name for name in group_options(conf_folder() / "prompt") if name.startswith("vqa2_") and "assistant" not in name
]
RECIPES = [name for name in group_options(conf_folder() / "experiment") if name.startswith("vqa2_ugc")]

MADE = ["data=synthetic_quality", "data.num_train=16", "data.num_val=16"]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Train the tiny twin with some settings; returns the run's folder."""
    home = tmp_path_factory.mktemp("vqa2")
    settings = (
        *("model=vqa2_tiny", "data.workers=0", f"data.prepared={home}/prepared", f"data.cache.folder={home}/cache"),
        *(f"run.root={home}/runs", "trainer.accelerator=cpu", "trainer.precision=32", "trainer.progress=false"),
        *("trainer.epochs=1", "data.batch_size=4", "logger=csv"),
    )

    def run(*overrides, data=MADE):
        made = [f"data.folder={home}/clips"] if data is MADE else []
        config = compose([*overrides, *data, *made, *settings])
        fit(config)
        return RunFolder(identity.folder(config))

    run.home = home
    return run


@pytest.fixture(scope="module")
def stalled(train):
    """The clips as tables, with a column that tells stalls in every form."""
    train("modal=v", "prompt=vqa2_ugc_current")
    (home,) = train.home.glob("clips/v*")
    for name in ("train", "val"):
        rows = list(csv.DictReader((home / f"{name}.csv").read_text().splitlines()))
        cells = ["none", "3+2", "", "00011"]
        with (train.home / f"{name}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, [*rows[0], "stalling"])
            table.writeheader()
            table.writerows(row | {"stalling": cells[at % 4]} for at, row in enumerate(rows))
    tables = (f"data.path={train.home}/train.csv", f"data.val_path={train.home}/val.csv")
    return ["data=table", *tables, f"data.root={home}/videos", "data.label.range=[1,5]"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_is_trained_and_scored_alike(train, stalled, protocol):
    shorter = ["model.motion.stride=1"] if protocol == "vqa2_ugc_first_release" else []  # clips of less than 32 frames
    data = stalled if protocol == "vqa2_streaming" else MADE
    run = train("modal=v", "frames=each_second", f"prompt={protocol}", *shorter, data=data)
    trained = read(run.prediction("val"))
    evaluate_split(run.path, split="val", modal=None, checkpoint="best", overrides=[])
    assert len(trained) == 16
    assert read(run.prediction("val-eval")) == pytest.approx(trained, abs=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_learns_words_and_its_export_scores_as_it_did(train, recipe, tmp_path):
    run = train(f"experiment={recipe}", "optimizer.learning_rate=1e-2", "trainer.log_every=1", "trainer.accumulate=1")
    (first, *_, last) = [
        row["train/loss"]
        for row in map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())
        if "train/loss" in row
    ]
    assert last < first
    export_run(run.path, out=tmp_path / "out")
    again = evqa.load(tmp_path / "out", batch_size=2)
    validation = read_data_plan(run.read_config()).dataset.load().splits["val"]
    scores = {score.id: score.value for score in again.score(validation)}
    assert scores == pytest.approx(read(run.prediction("val")), abs=1e-5)
