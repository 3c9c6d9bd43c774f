"""Every model scores in bfloat16 without autocasting as it does with it."""

import pytest
import torch

from evqa.runs.precision import Bfloat16Weights
from evqa.scoring.computation import Computation
from evqa.training.build import build_model, build_scoring
from evqa.training.plan import read_plan
from evqa.training.tuning import merge_adapters
from tests.models.toys import MODELS, configure, randomise, samples


@pytest.mark.parametrize("name", MODELS)
def test_scores_in_bfloat16_alone_are_those_of_autocasting(twin, name):
    modal, scores = MODELS[name][1][-1], {}
    torch.manual_seed(0)
    plan = read_plan(configure(name, modal, "regression", "r8", arguments=twin(name)))
    built = build_model(plan)
    module = build_scoring(plan, built)
    randomise(module)
    merge_adapters(module.model)
    inputs = module.model.preparer.collate(samples(built, modal, learn=False))
    for precision in ("bf16-true", "bf16-pure"):
        computation = Computation(device=torch.device("cpu"), precision=precision)
        computation.place(module)
        with computation.active():
            scores[precision] = module.head.score(module.model, inputs).score_B
    # A GPU's autocasting rounds elsewhere; a CPU's casts nothing that is not bfloat16 already.
    torch.testing.assert_close(scores["bf16-pure"], scores["bf16-true"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("casts", [True, False])
def test_losses_of_a_split_are_computed_so_too(casts):
    with Bfloat16Weights("cpu", casts=casts).forward_context():
        assert torch.is_autocast_enabled("cpu") == casts
