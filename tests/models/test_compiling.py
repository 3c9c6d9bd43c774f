"""Layers that are compiled one by one learn as the others do, at every length."""

import pytest
import torch
from torch import nn

from evqa.models.base import Model
from evqa.models.compiling import compile_blocks
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import configure, randomise, samples

LABELS = torch.tensor([0.2, 0.4, 0.6, 0.8])


def learn(arguments, *, compiled, autocast=False):
    """Losses of two batches of different size and length, the gradients of both, and the names of the weights.

    autocast: to bfloat16, inside of the model.
    """
    torch.manual_seed(0)
    built = build_model(plan := read_plan(configure("qwen3_vl", "v", "regression", "r8", arguments=arguments)))
    module = build_module(plan, built).train()
    randomise(module)
    if compiled:
        compile_blocks(built.model)
    losses, batches = [], samples(built, "v", learn=True)
    for items, label_B in ((batches[:3], LABELS[:3]), (batches[:2], LABELS[:2])):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = built.model(built.model.preparer.collate(items))
        losses.append(module.head.loss(output, label_B, module.criterion))
    sum(losses).backward()
    gradients = {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}
    return torch.stack(losses).detach(), gradients, list(module.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # the compiler's own look at them
def test_compiled_layers_learn_as_the_others_do(twin, monkeypatch):
    arguments = twin("qwen3_vl") | {"recompute": 0, "recompute_media": False}
    expected_losses, expected, names = learn(arguments, compiled=False)
    made, compile_, blocks = [], nn.Module.compile, Model.blocks

    def trace(layer, **options):  # machine code from the same trace takes a minute
        made.append(layer)
        compile_(layer, backend="aot_eager", **options)

    monkeypatch.setattr(nn.Module, "compile", trace)
    monkeypatch.setattr(Model, "blocks", lambda model: {"language": blocks(model)["language"]})
    losses, gradients, compiled_names = learn(arguments, compiled=True)
    assert len(made) > 1
    assert compiled_names == names
    torch.testing.assert_close(losses, expected_losses, atol=1e-6, rtol=1e-5)
    assert gradients.keys() == expected.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[key], atol=1e-5, rtol=1e-4, msg=key)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_machine_code_in_bfloat16_differs_by_its_rounding_alone(twin, monkeypatch):
    """TorchInductor keeps float32 between the operations that it joins; told to round where they do, it agrees."""
    from torch._inductor import config as inductor

    arguments = twin("qwen3_vl") | {"recompute": 0, "recompute_media": False}
    expected_losses, expected, _ = learn(arguments, compiled=False, autocast=True)
    blocks = Model.blocks
    monkeypatch.setattr(Model, "blocks", lambda model: {"language": blocks(model)["language"][:1]})
    monkeypatch.setattr(inductor, "emulate_precision_casts", True)
    losses, gradients, _ = learn(arguments, compiled=True, autocast=True)
    torch.testing.assert_close(losses, expected_losses, atol=0, rtol=1e-4)
    assert distance(gradients, expected) < 5e-4


def distance(gradients, expected):
    """How far gradients are from others, as a share of their norm."""
    apart = torch.cat([(gradients[key] - expected[key]).flatten() for key in expected])
    return float(apart.norm() / torch.cat([one.flatten() for one in expected.values()]).norm())
