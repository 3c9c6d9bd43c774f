"""VQA²'s three stages as recipes: what each trains, and how each starts from the run before."""

import pytest
import torch
from omegaconf import read_write

from evqa.config import identity
from evqa.config.compose import compose
from evqa.errors import RunError
from evqa.runs.evaluation import evaluate_split
from evqa.runs.fit import run as fit
from evqa.training.build import build_model, build_module
from evqa.training.folder import RunFolder
from evqa.training.kept_weights import weights_to_score
from evqa.training.plan import read_plan
from tests.runs.test_agreement import read

TINY = ("model=vqa2_tiny", "model.recompute=0", "model.recompute_media=false")
ALL = {"vision", "connector", "motion", "motion_connector", "language", "lm_head"}
STILL = {"lora", "connector", "motion", "motion_connector"}
TRAINED = {
    "vqa2_stage1_spatial": {"vision", "connector"},
    "vqa2_stage1_motion": {"motion", "motion_connector"},
    "vqa2_ugc_stage2": ALL,
    "vqa2_ugc_stage2_lora": STILL,
    "vqa2_streaming_stage2": ALL,
    "vqa2_stage3": ALL,
    "vqa2_stage3_lora": STILL,
}


@pytest.mark.parametrize("recipe", TRAINED)
def test_a_stage_trains_its_own_parts_at_their_own_rates(recipe):
    plan = read_plan(compose([f"experiment={recipe}", *TINY]))
    module = build_module(plan, build_model(plan))
    assert {name for name, _ in module.named_trained()} == TRAINED[recipe]
    rates = {group["name"]: group["lr"] for group in module.optimizer.build(module.named_trained()).param_groups}
    assert rates == {name: {"vision": 2e-6, "lora": 1e-4}.get(name, 1e-5) for name in TRAINED[recipe]}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The three runs of a chain at toy size: pictures, motion, scores."""
    home = tmp_path_factory.mktemp("stages")
    toy = (
        *TINY,
        *(f"data.prepared={home}/prepared", f"data.cache.folder={home}/cache", f"run.root={home}/runs", "run.name=run"),
        *("trainer.accelerator=cpu", "trainer.precision=32", "trainer.progress=false", "data.workers=0", "logger=csv"),
        *("data.num_train=16", "data.num_val=16", "optimizer.learning_rate=1e-3"),
    )

    def train(recipe, *more):
        config = compose([f"experiment={recipe}", *toy, f"data.folder={home}/{recipe.split('_')[1]}", *more])
        fit(config)
        return RunFolder(identity.folder(config)), config

    spatial = train("vqa2_stage1_spatial")
    motion = train("vqa2_stage1_motion", *after(spatial))
    scorer = train("vqa2_ugc_stage2", "data=synthetic_quality", "prompt=vqa2_ugc_current", *after(motion))
    return spatial, motion, scorer


def after(run):
    return (f"model.checkpoint={run[0].path}", "model.size=null")


def best(run):
    """All weights of a run's best checkpoint, by name."""
    folder, config = run
    plan = read_plan(config)
    module = build_module(plan, build_model(plan))
    module.load_trained(weights_to_score(folder).state)
    return dict(module.model.named_parameters())


@pytest.mark.slow
def test_a_stage_starts_from_the_weights_of_the_one_before_and_changes_its_own_alone(chain):
    for earlier, later in ((chain[0], chain[1]), (chain[1], chain[2])):
        before, start, end = best(earlier), build_model(read_plan(later[1])).model, best(later)
        assert before.keys() == end.keys()
        for name, weight in start.named_parameters():
            torch.testing.assert_close(weight, before[name], rtol=0, atol=0)
    before, end = best(chain[0]), best(chain[1])
    changed = {name.split(".")[0] for name in end if not torch.equal(end[name], before[name])}
    assert changed == {"motion", "motion_projector"}


@pytest.mark.slow
def test_a_scorer_that_came_of_a_chain_scores_again_as_it_did(chain):
    folder, _ = chain[2]
    evaluate_split(folder.path, split="val", modal=None, checkpoint="best", overrides=[])
    assert read(folder.prediction("val-eval")) == pytest.approx(read(folder.prediction("val")), abs=1e-6)


@pytest.mark.slow
def test_an_earlier_run_is_merged_once_and_stays_a_run(chain):
    folder, _ = chain[0]
    written = (folder.path / "merged" / "model.safetensors").stat()
    fit(chain[1][1])  # finished already
    assert (folder.path / "merged" / "model.safetensors").stat().st_mtime_ns == written.st_mtime_ns


@pytest.mark.slow
def test_a_run_that_is_missing_or_not_finished_is_no_start(chain, tmp_path):
    config = chain[1][1].copy()
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    places = {
        f"{config.run.root}/vqa2_demo_stage1/stage1": "no such run yet. .* makes it: .* experiment=vqa2_demo_stage1",
        str(tmp_path): "this run is not finished",
    }
    for place, sentence in places.items():
        with read_write(config):
            config.model.checkpoint = place
        with pytest.raises(RunError, match=sentence):
            fit(config)
