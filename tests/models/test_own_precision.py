"""Frozen encoder layers outside autocasting give the same bits as under it, without its float32 copies."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import MODELS, configure, samples


def encoded(name, arguments, *, precision):
    """What the layers of all encoders return under autocasting, and the types that vision's layer norms return."""
    config = configure(name, MODELS[name][1][-1], "regression", "r8", arguments=arguments)
    config.trainer.precision = precision
    plan = read_plan(config)
    built = build_model(plan)
    module = build_module(plan, built).eval()
    outputs, types = [], set()
    for part, layers in module.model.blocks().items():
        for layer in layers if part != "language" else ():
            layer.register_forward_hook(lambda _, __, output: outputs.append(output))
        for norm in (one for layer in layers for one in layer.modules() if part == "vision"):
            if isinstance(norm, nn.LayerNorm):
                norm.register_forward_hook(lambda _, __, output: types.add(output.dtype))
    inputs = module.model.preparer.collate(samples(built, plan.modal, learn=True))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        module.model(inputs)
    return outputs, types


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Autocasting of layer norms to float32, which PyTorch has on GPUs alone."""
    norm = functional.layer_norm

    def cast_norm(value, shape, weight=None, bias=None, eps=1e-5):
        if not torch.is_autocast_enabled("cpu"):
            return norm(value, shape, weight, bias, eps)
        return norm(value.float(), shape, weight.float(), bias.float(), eps)

    monkeypatch.setattr(functional, "layer_norm", cast_norm)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("name", ["videollama2", "vqa2", "qwen3_vl"])
def test_frozen_encoder_layers_give_the_same_bits_outside_autocasting(twin, name):
    arguments = twin(name) | {"dtype": "bfloat16"}
    expected, copied = encoded(name, arguments, precision="32")  # adapters alone know what the run's precision is
    outputs, types = encoded(name, arguments, precision="bf16")
    assert (copied, types) == ({torch.float32}, {torch.bfloat16})
    assert len(outputs) == len(expected) > 1
    for output, other in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, other, atol=0, rtol=0)


def test_encoders_in_float32_and_trained_ones_stay_under_autocasting(twin):
    for dtype, parts in (("float32", "[connector]"), ("bfloat16", "[vision]")):
        config = configure("qwen3_vl", "v", "regression", "r8", arguments=twin("qwen3_vl") | {"dtype": dtype})
        config.trainer.precision, config.lora.train = "bf16", [parts.strip("[]")]
        built = build_model(plan := read_plan(config))
        layer = build_module(plan, built).model.blocks()["vision"][0]
        seen = []
        layer.norm1.register_forward_hook(lambda *_, seen=seen: seen.append(torch.is_autocast_enabled("cpu")))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            built.model(built.model.preparer.collate(samples(built, "v", learn=True)))
        assert all(seen)
        assert seen
