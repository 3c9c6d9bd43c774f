"""Layers that are computed again give the gradients that they give otherwise, and what is frozen stays out of it."""

import pytest
import torch

from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import MODELS, configure, randomise, samples

VISION = {"vqa2": "body.vision_tower", "qwen2_5_vl": "body.visual", "qwen3_vl": "body.visual"}


def step(twin, name, *, again):
    """Gradients of one LoRA step, and whether the vision tower's first layer was given something to learn through."""
    arguments = twin(name) | {"gradient_checkpointing": again}
    plan = read_plan(configure(name, MODELS[name][1][-1], "regression", "r8", arguments=arguments))
    scorer = build_model(plan)
    module = build_module(plan, scorer).train()
    randomise(module)
    asked = []
    tower = module.model.get_submodule(VISION[name])
    layer = next(one for one in tower.modules() if type(one).__name__.endswith(("EncoderLayer", "VisionBlock")))
    layer.register_forward_pre_hook(lambda _, args, kwargs: asked.append((args or [*kwargs.values()])[0].requires_grad),
                                    with_kwargs=True)  # fmt: skip
    output = module.model(module.model.preparer.collate(samples(scorer, plan.modal, learn=True)))
    torch.manual_seed(0)
    module.head.loss(output, torch.tensor([0.2, 0.4, 0.6, 0.8]), module.criterion).backward()
    return {name: one.grad for name, one in module.named_parameters() if one.grad is not None}, asked


@pytest.mark.parametrize("name", VISION)
def test_a_frozen_vision_tower_is_not_computed_again(twin, name):
    torch.manual_seed(0)
    gradients, asked = step(twin, name, again=True)
    assert asked
    assert not any(asked)
    torch.manual_seed(0)
    expected, _ = step(twin, name, again=False)
    assert gradients.keys() == expected.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[key], atol=1e-6, rtol=1e-4, msg=key)
