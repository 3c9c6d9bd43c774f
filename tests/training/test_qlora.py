"""4-bit layers; bitsandbytes is an extra, and its CPU build suffices here."""

import copy
from functools import partialmethod

import pytest
import torch
from torch import nn

from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.compiling import compile_blocks
from evqa.models.four_bit import hold_in_four_bits, num_values, pack
from evqa.models.tiny import Tiny
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from evqa.training.tuning import Tuning, apply_tuning, is_adapter
from tests.models.toys import configure, randomise, samples

Params4bit = pytest.importorskip("bitsandbytes", reason="needs the extra qlora").nn.Params4bit


@pytest.fixture
def models():
    """The same model in full precision and in 4 bits."""
    built = []
    for method in ("lora", "qlora"):
        torch.manual_seed(0)
        model = Tiny(BuildOptions(frames=FrameSampling(), audio=None))
        apply_tuning(model, Tuning(method=method, rank=4, dropout=0.0))
        built.append(model.to("cpu"))
    return built


def test_adapted_layers_are_held_in_four_bits_under_the_same_trained_names(models):
    layer = models[1].trunk.layers[0].q_proj
    assert type(layer).__name__ == "Linear4bit"
    assert layer.base_layer.weight.dtype == torch.uint8
    assert layer.base_layer.weight.numel() == 64 * 64 // 2
    trained = [{name for name, p in model.named_parameters() if p.requires_grad} for model in models]
    assert trained[0] == trained[1]


def test_layers_without_values_take_the_bytes_of_real_ones():
    model = nn.Sequential(nn.Linear(512, 2048, bias=False), nn.Linear(2048, 512, bias=False)).bfloat16()
    empty = copy.deepcopy(model).to("meta")
    hold_in_four_bits(model, ["0", "1"])
    hold_in_four_bits(empty, ["0", "1"], counted=True)
    states = [layer.weight.quant_state for layer in model.to("cpu")]
    real = [tensor for layer in model for tensor in (layer.weight, layer.weight.quant_state.absmax)]
    real += [state.state2.absmax for state in states]
    size = sum(tensor.numel() * tensor.element_size() for tensor in real)
    assert size == sum(tensor.numel() * tensor.element_size() for tensor in empty.state_dict().values())
    assert sum(map(num_values, empty.parameters())) == sum(map(num_values, model.parameters())) == 2 * 512 * 2048


@pytest.mark.parametrize("name", ["qwen2_5_vl", "vqa2_qwen2_5"])
def test_weights_are_packed_as_they_are_read(twin, name, monkeypatch):
    plan = read_plan(configure(name, "v", "regression", "qlora", arguments=twin(name)))
    held = []

    def pack_and_look(model, names, *, empty):
        held.append([w.dtype for n, w in model.named_parameters() if isinstance(w, Params4bit) and not w.is_meta])
        pack(model, names, empty=empty)

    monkeypatch.setattr("evqa.models.weights.pack", pack_and_look)
    found = build_model(plan).model
    apply_tuning(found, plan.tuning)
    assert {dtype for before in held for dtype in before} == {torch.uint8}
    monkeypatch.setattr("evqa.training.build.hold_in_four_bits", lambda model, names: None)
    expected = build_model(plan).model
    apply_tuning(expected, plan.tuning)
    expected.to("cpu")
    packed = {name: weight for name, weight in expected.named_parameters() if weight.dtype == torch.uint8}
    assert len(packed) == 7 * len(expected.blocks()["language"])
    assert all(torch.equal(found.get_parameter(name), weight) for name, weight in packed.items())
    assert all(weight.quant_state is not None for weight in map(found.get_parameter, packed))


def test_four_bits_compute_nearly_the_same_and_only_adapters_and_connectors_learn(models):
    full, small = models
    embeds = torch.randn(1, 6, 64)
    expected, found = full.trunk(embeds), small.trunk(embeds)
    assert torch.corrcoef(torch.stack([expected.flatten(), found.flatten()]))[0, 1] > 0.98
    found.square().sum().backward()
    for name, parameter in small.trunk.named_parameters():
        assert (parameter.grad is not None) == is_adapter(name), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_packed_layers_learn_compiled_as_they_do_otherwise(twin, monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    found = []
    for compiled in (False, True):
        torch.manual_seed(0)
        built = build_model(plan := read_plan(configure("tiny", "v", "regression", "qlora", arguments=twin("tiny"))))
        module = build_module(plan, built).train()
        randomise(module)
        if compiled:
            compile_blocks(built.model)
        output = module.model.to("cpu")(built.model.preparer.collate(samples(built, "v", learn=True)))
        loss = module.head.loss(output, torch.tensor([0.2, 0.4, 0.6, 0.8]), module.criterion)
        loss.backward()
        assert any(weight.dtype == torch.uint8 for weight in module.parameters())
        found.append([loss.detach(), *(weight.grad for weight in module.parameters() if weight.grad is not None)])
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)
