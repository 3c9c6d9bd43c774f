"""Layers that are computed again give the scores, losses and gradients that they give otherwise, bit for bit."""

import pytest
import torch

from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import MODELS, configure, randomise, samples

CHOOSING = sorted(set(MODELS) - {"tiny"})
VISION = {"vqa2": "body.vision_tower", "qwen2_5_vl": "body.visual", "qwen3_vl": "body.visual"}


def build(twin, name, *, lora, share):
    """A module that trains, with a batch for it."""
    arguments = twin(name) | {"recompute": share, "recompute_media": bool(share)}
    plan = read_plan(configure(name, MODELS[name][1][-1], "regression", lora, arguments=arguments))
    scorer = build_model(plan)
    module = build_module(plan, scorer).train()
    randomise(module)
    return module, module.model.preparer.collate(samples(scorer, plan.modal, learn=True))


def step(module, batch):
    """States, loss and gradients of a step."""
    torch.manual_seed(0)
    module.zero_grad()
    output = module.model(batch)
    loss = module.head.loss(output, torch.tensor([0.2, 0.4, 0.6, 0.8]), module.criterion)
    loss.backward()
    gradients = {name: one.grad for name, one in module.named_parameters() if one.grad is not None}
    return {"hidden": output.mean_BD().detach(), "loss": loss.detach(), **gradients}


@pytest.mark.parametrize(("name", "lora"), [*((name, "none") for name in CHOOSING), ("videollama2", "r8")])
def test_no_share_of_recomputed_layers_changes_a_bit(twin, name, lora):
    module, batch = build(twin, name, lora=lora, share=0)
    expected = step(module, batch)
    for share, media in ((0.5, True), (1.0, False)):
        module.model.recompute_activations(share, media=media)
        layers = module.model.blocks()["language"]
        again = [layer.gradient_checkpointing for layer in layers]
        assert again == [index < round(share * len(layers)) for index in range(len(layers))]
        found = step(module, batch)
        assert found.keys() == expected.keys()
        assert [key for key in found if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize("name", VISION)
def test_a_frozen_vision_tower_is_not_computed_again(twin, name):
    module, batch = build(twin, name, lora="r8", share=1)
    asked = []
    tower = module.model.get_submodule(VISION[name])
    layer = next(one for one in tower.modules() if type(one).__name__.endswith(("EncoderLayer", "VisionBlock")))
    layer.register_forward_pre_hook(lambda _, args, kwargs: asked.append((args or [*kwargs.values()])[0].requires_grad),
                                    with_kwargs=True)  # fmt: skip
    step(module, batch)
    assert asked
    assert not any(asked)


def test_auto_recomputes_nothing_until_a_training_chooses(twin):
    module, _ = build(twin, "vqa2", lora="r8", share="auto")
    assert module.model.num_recomputed == 0
    module.model.recompute_layers(1)
    assert [layer.gradient_checkpointing for layer in module.model.blocks()["language"]][:2] == [True, False]
