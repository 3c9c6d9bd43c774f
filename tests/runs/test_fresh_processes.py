"""Training, evaluation, prediction and export agree although each rebuilds the model in a process of its own.

Every model (as its twin), every recipe of conf/lora and every head is found by listing its folder.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import evqa
from evqa.runs.merging import export_run
from evqa.training.build import build_model, build_module
from evqa.training.folder import RunFolder
from evqa.training.plan import read_data_plan, read_plan
from tests.models.toys import MODELS, gives_scores, options
from tests.runs.test_agreement import read

pytestmark = pytest.mark.slow
# A head without scores has none to repeat; tests/runs/test_conversation.py takes it through its own life.
HEADS = [head for head in options("head") if gives_scores(head)]
LORA = [f"lora={name}" for name in options("lora") if name not in ("none", "qlora")]  # qlora needs a GPU
FROZEN = {
    "freeze=language": "lora.freeze=[language,lm_head]",
    "head alone": "lora.freeze=[vision,connector,audio,audio_connector,language]",
}


def cases():
    """The embedded model with every recipe, every other one with adapters and with frozen parts; heads take turns."""
    heads, adapters, frozen = itertools.cycle(HEADS), itertools.cycle(LORA), itertools.cycle(FROZEN)
    for model in MODELS:
        recipes = ["lora=none", *LORA, *FROZEN] if model == "tiny" else [next(adapters), next(frozen)]
        for recipe in recipes:
            yield model, recipe, "regression" if recipe == "head alone" else next(heads)


CASES = {"-".join(case): case for case in cases()}
CHEAP = (
    *("frames=first4", "trainer.epochs=1", "data.num_train=32", "data.num_val=16", "optimizer.learning_rate=1e-2"),
    *("trainer.progress=false", "logger=csv", "data.workers=0"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("fresh")


@pytest.fixture(scope="module")
def in_a_process(root):
    """Run commands one after the other in one new process; fails with what they printed."""
    numbers = itertools.count()

    def run(commands, *, status=0):
        file = root / f"commands{next(numbers)}.json"
        file.write_text(json.dumps(commands))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        program = [sys.executable, Path(__file__).with_name("fresh.py"), file]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def trained(root, in_a_process, twin, workplace):
    """Train every case in one process, as a sweep does; returns the folders and what training said of its scores."""
    commands = []
    for name, (model, recipe, head) in CASES.items():
        option, modalities = MODELS[model]
        modal = "av" if "av" in modalities else modalities[0]
        own = [f"++model.{key}={'null' if value is None else value}" for key, value in twin(model).items()]
        places = (f"data.folder={workplace}/synthetic", f"data.prepared={workplace}/prepared")
        places = (*places, f"data.cache.folder={workplace}/clips", f"run.root={root}", f"run.name={name!r}")
        chosen = (f"model={option}", f"modal={modal}", f"head={head}", FROZEN.get(recipe, recipe), *own)
        commands.append(["train", [*chosen, *CHEAP, *places]])
    in_a_process(commands)
    folders = {name: RunFolder(root / "default" / name) for name in CASES}
    return folders, {name: said(folder, "val") for name, folder in folders.items()}


def said(folder, name):
    """Every score, and every reason why there is none."""
    record = json.loads(folder.prediction(name, "json").read_text())
    return read(folder.prediction(name)), {failure["id"]: failure["reason"] for failure in record["failures"]}


@pytest.fixture(scope="module")
def evaluated(trained, in_a_process):
    folders, _ = trained
    in_a_process([["eval", [str(folder.path)]] for folder in folders.values()])
    return {name: said(folder, "val-eval") for name, folder in folders.items()}


@pytest.fixture(scope="module")
def predicted(trained, in_a_process, root, workplace):
    """Predict and export in one more process; every prediction is a line for each of 16 videos."""
    (table,) = workplace.glob("synthetic/v*-32-16/val.csv")
    commands = []
    for name, folder in trained[0].items():
        inputs = [str(table), "--videos", str(table.parent / "videos"), "--run", str(folder.path), "--json"]
        commands += [["predict", inputs], ["merge", [str(folder.path), "--out", str(root / f"{name}.export")]]]
    said = in_a_process(commands, status=1)  # an untrained model writes no numbers at all
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert len(rows) == 16 * len(CASES)
    return {name: parts(rows[16 * at : 16 * (at + 1)]) for at, name in enumerate(CASES)}


def parts(answer):
    scores = {row["id"]: row["score"] for row in answer if "score" in row}
    return scores, {row["id"]: row["error"] for row in answer if "error" in row}


@pytest.mark.parametrize("case", CASES)
def test_evaluation_in_another_process_repeats_training(trained, evaluated, case):
    scores, reasons = trained[1][case]
    assert len(scores) + len(reasons) == 16
    assert evaluated[case] == (pytest.approx(scores, abs=1e-5), reasons)


@pytest.mark.parametrize("case", CASES)
def test_prediction_in_another_process_repeats_training(trained, predicted, case):
    scores, reasons = trained[1][case]
    assert predicted[case] == (pytest.approx(scores, abs=1e-5), reasons)


@pytest.mark.parametrize("case", CASES)
def test_an_export_from_another_process_repeats_training(trained, predicted, root, case):
    folder, export = trained[0][case], root / f"{case}.export"
    found = list(evqa.load(export, batch_size=3, workers=2).score(validation(folder)))
    scores = {score.id: score.value for score in found if score.failure is None}
    assert (scores, {score.id: score.failure.reason for score in found if score.failure is not None}) == (
        pytest.approx(trained[1][case][0], abs=1e-5),
        trained[1][case][1],
    )


def validation(folder):
    return read_data_plan(folder.read_config()).dataset.load().splits["val"]


ADAPTED = [name for name, (_, recipe, _) in CASES.items() if recipe in LORA]


@pytest.mark.parametrize("case", ADAPTED)
def test_an_adapter_alone_on_its_base_repeats_training_too(trained, twin, tmp_path, case):
    folder = trained[0][case]
    export_run(folder.path, out=tmp_path / "adapter", adapter=True)
    base = twin(case.partition("-")[0]).get("checkpoint")
    found = evqa.load(tmp_path / "adapter", overrides=[f"model.checkpoint={base}"] if base else [])
    scores = {score.id: score.value for score in found.score(validation(folder)) if score.failure is None}
    assert scores == pytest.approx(trained[1][case][0], abs=1e-5)


def test_a_checkpoint_alone_gives_the_scores_back_whatever_the_seed(trained):
    """What no published base holds is in the checkpoint: the seed is the second support, for older runs."""
    folder = next(folder for name, folder in trained[0].items() if name.startswith(f"tiny-{LORA[0]}"))
    config = folder.read_config()
    state = torch.load(folder.checkpoints / "best.ckpt", weights_only=True)
    scorers = []
    for seed in (config.seed, 99):
        config.seed = seed
        module = build_module(read_plan(config), build_model(read_plan(config)))
        module.load_trained(state)
        scorers.append(module.state_dict())
    assert all(torch.equal(scorers[0][name], scorers[1][name]) for name in scorers[0])
