"""4-bit layers; bitsandbytes is an extra, and its CPU build suffices here."""

import copy

import pytest
import torch
from torch import nn

from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.four_bit import hold_in_four_bits, num_values
from evqa.models.tiny import Tiny
from evqa.training.tuning import Tuning, apply_tuning, is_adapter

bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra qlora")


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
    for one in (model, empty):
        hold_in_four_bits(one, ["0", "1"])
    states = [layer.weight.quant_state for layer in model.to("cpu")]
    real = [tensor for layer in model for tensor in (layer.weight, layer.weight.quant_state.absmax)]
    real += [state.state2.absmax for state in states]
    size = sum(tensor.numel() * tensor.element_size() for tensor in real)
    assert size == sum(tensor.numel() * tensor.element_size() for tensor in empty.state_dict().values())
    assert sum(map(num_values, empty.parameters())) == sum(map(num_values, model.parameters())) == 2 * 512 * 2048


def test_four_bits_compute_nearly_the_same_and_only_adapters_and_connectors_learn(models):
    full, small = models
    embeds = torch.randn(1, 6, 64)
    expected, found = full.trunk(embeds), small.trunk(embeds)
    assert torch.corrcoef(torch.stack([expected.flatten(), found.flatten()]))[0, 1] > 0.98
    found.square().sum().backward()
    for name, parameter in small.trunk.named_parameters():
        assert (parameter.grad is not None) == is_adapter(name), name
