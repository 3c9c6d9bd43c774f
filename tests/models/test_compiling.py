"""Layers and connectors that are compiled one by one learn as the others do, at every length."""

import pytest
import torch
from torch import nn
from torch._dynamo import config as dynamo

from evqa.models import compiling
from evqa.models.base import Model
from evqa.models.compiling import compile_blocks, compiled_units
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import MODELS, configure, randomise, samples

LABELS = torch.tensor([0.2, 0.4, 0.6, 0.8])


CONNECTORS = {
    "qwen2_5_vl": ["body.visual.merger"],
    "videollama2": [
        *(f"mm_projector.s1.b{i}" for i in (1, 2, 3, 4)),
        "mm_projector.sampler",
        *(f"mm_projector.s2.b{i}" for i in (1, 2, 3, 4)),
        "mm_projector.readout",
        "mm_projector_a",
    ],
    "vqa2": ["body.multi_modal_projector", "motion_projector"],
}


def learn(arguments, *, compiled, name="qwen3_vl", autocast=False):
    """Losses of two batches of different size and length, the gradients of both, and the names of the weights.

    autocast: to bfloat16, inside of the model.
    """
    torch.manual_seed(0)
    modal = MODELS[name][1][-1]
    built = build_model(plan := read_plan(configure(name, modal, "regression", "r8", arguments=arguments)))
    module = build_module(plan, built).train()
    randomise(module)
    if compiled:
        compile_blocks(built.model)
    losses, batches = [], samples(built, modal, learn=True)
    for items, label_B in ((batches[:3], LABELS[:3]), (batches[:2], LABELS[:2])):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = built.model(built.model.preparer.collate(items))
        losses.append(module.head.loss(output, label_B, module.criterion))
    sum(losses).backward()
    gradients = {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}
    return torch.stack(losses).detach(), gradients, list(module.state_dict())


@pytest.fixture
def traced(monkeypatch):
    """The modules that are compiled, as traced alone: machine code from the same trace takes a minute."""
    made, compile_ = [], nn.Module.compile

    def trace(module, **options):
        made.append(module)
        compile_(module, backend="aot_eager", **options)

    monkeypatch.setattr(nn.Module, "compile", trace)
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # the compiler's own look at them
def test_compiled_layers_learn_as_the_others_do(twin, monkeypatch, traced):
    arguments = twin("qwen3_vl") | {"recompute": 0.5, "recompute_media": False}
    expected_losses, expected, names = learn(arguments, compiled=False)
    blocks = Model.blocks
    monkeypatch.setattr(Model, "blocks", lambda model: {"language": blocks(model)["language"]})
    losses, gradients, compiled_names = learn(arguments, compiled=True)
    assert len(traced) > 1
    assert compiled_names == names
    hold_as_equal(losses, gradients, expected_losses, expected)


def hold_as_equal(losses, gradients, expected_losses, expected):
    torch.testing.assert_close(losses, expected_losses, atol=1e-6, rtol=1e-5)
    assert gradients.keys() == expected.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[key], atol=1e-5, rtol=1e-4, msg=key)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name", CONNECTORS)
def test_compiled_connectors_learn_as_the_others_do_and_are_recomputed_as_before(twin, monkeypatch, traced, name):
    arguments = twin(name) | {"recompute": 0, "recompute_media": True}
    expected_losses, expected, names = learn(arguments, compiled=False, name=name)
    monkeypatch.setattr(Model, "blocks", lambda _: {})
    losses, gradients, compiled_names = learn(arguments, compiled=True, name=name)
    assert compiled_names == names
    assert len(traced) == len(CONNECTORS[name])
    hold_as_equal(losses, gradients, expected_losses, expected)
    assert any(key.startswith(f"model.{CONNECTORS[name][0]}.") for key in gradients)


@pytest.mark.parametrize("name", CONNECTORS)
def test_connectors_are_compiled_beside_the_layers_block_by_block(twin, name):
    plan = read_plan(configure(name, MODELS[name][1][-1], "regression", "r8", arguments=twin(name)))
    model = build_model(plan, load=False).model
    names = {id(module): name for name, module in model.named_modules()}
    layers = [layer for layers in model.blocks().values() for layer in layers]
    assert [names[id(unit)] for unit in compiled_units(model)] == [
        *(names[id(one)] for one in layers),
        *CONNECTORS[name],
    ]


class Kind(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, hidden):
        return hidden + len(self.name)


class Kinds(nn.Module):
    def blocks(self):
        return {"language": tuple(Kind("x" * count) for count in range(12))}

    def parts(self):
        return ()


def test_every_kind_of_layer_is_compiled_of_more_than_torch_expects(monkeypatch):
    layers, graphs, compile_ = [], [], nn.Module.compile

    def note(layer, **options):
        layers.append(layer)
        compile_(layer, backend=lambda graph, _: graphs.append(graph) or graph.forward, **options)

    monkeypatch.setattr(nn.Module, "compile", note)
    with dynamo.patch(cache_size_limit=8):
        compile_blocks(Kinds())
        assert [int(layer(torch.zeros(3))[0]) for layer in layers] == list(range(12))
    assert len(graphs) == 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_machine_code_in_bfloat16_differs_by_its_rounding_alone(twin, monkeypatch):
    """TorchInductor keeps float32 between the operations that it joins; told to round where they do, it agrees."""
    from torch._inductor import config as inductor

    arguments = twin("qwen3_vl") | {"recompute": 0, "recompute_media": False}
    expected_losses, expected, _ = learn(arguments, compiled=False, autocast=True)
    blocks = Model.blocks
    monkeypatch.setattr(Model, "blocks", lambda model: {"language": blocks(model)["language"][:1]})
    monkeypatch.setattr(compiling, "_connectors", lambda _: ())
    with inductor.patch(emulate_precision_casts=True):
        losses, gradients, _ = learn(arguments, compiled=True, autocast=True)
    torch.testing.assert_close(losses, expected_losses, atol=0, rtol=1e-4)
    assert distance(gradients, expected) < 5e-4


def distance(gradients, expected):
    """How far gradients are from others, as a share of their norm."""
    apart = torch.cat([(gradients[key] - expected[key]).flatten() for key in expected])
    return float(apart.norm() / torch.cat([one.flatten() for one in expected.values()]).norm())
