"""Fused kernels in language models: which layers run them, and that they compute what these layers do."""

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from functools import partialmethod

import pytest
import torch
from torch import nn
from torch.nn import functional

from evqa.errors import ConfigError
from evqa.models import compiling
from evqa.models.base import BuildOptions, Model
from evqa.models.compiling import compile_blocks
from evqa.models.kernels import Kernels, use_kernels
from evqa.models.tiny import Tiny
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import MODELS, configure, randomise, samples

TRANSFORMERS = ["videollama2", "vqa2", "qwen2_5_vl", "qwen2_5_omni", "qwen3_vl"]


def plain_kernels(calls):
    """The same functions in PyTorch's own operations, counted."""

    def rms_norm(hidden, weight, eps):
        calls.append("rms_norm")
        wide = hidden.float()
        return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(hidden.dtype)

    def gated(gate, up):
        calls.append("gated")
        return functional.silu(gate) * up

    def rotary(query, key, cos, sin):
        calls.append("rotary")

        def turned(one):
            first, second = one.chunk(2, -1)
            return one * cos.unsqueeze(1) + torch.cat((-second, first), -1) * sin.unsqueeze(1)

        return turned(query), turned(key)

    return Kernels(rms_norm=rms_norm, gated=gated, rotary=rotary)


def toy(name, arguments):
    return configure(name, MODELS[name][1][-1], "regression", "r8", arguments=arguments)


def step(name, arguments, kernels, *, num_samples=4, calls=None, compiled=False):
    """Scores and gradients of a LoRA step with fused kernels, or without. calls: is left with those of the scores."""
    torch.manual_seed(0)
    built = build_model(plan := read_plan(toy(name, arguments)))
    module = build_module(plan, built).train()
    randomise(module)
    if kernels is not None:
        use_kernels(built.model, kernels)
    if compiled:
        compile_blocks(built.model)
    inputs = built.model.preparer.collate(samples(built, plan.modal, learn=True)[-num_samples:])
    label_B = torch.tensor([0.2, 0.4, 0.6, 0.8])[-num_samples:]
    module.head.loss(built.model(inputs), label_B, module.criterion).backward()
    with torch.no_grad():
        (calls or []).clear()
        score_B = module.head.score(built.model, inputs).score_B
    return score_B, {name: one.grad for name, one in module.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_norm_gated_mlp_and_rotation_of_the_language_model_runs_its_kernel(twin, name):
    expected_B, expected = step(name, twin(name), None)
    calls = []
    score_B, gradients = step(name, twin(name), plain_kernels(calls), calls=calls)
    num_layers = len(build_model(read_plan(toy(name, twin(name)))).model.blocks()["language"])
    norms = 4 if name == "qwen3_vl" else 2  # which also norms queries and keys
    assert Counter(calls) == {"gated": num_layers, "rotary": num_layers, "rms_norm": norms * num_layers + 1}
    assert torch.equal(score_B, expected_B)
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradient, expected[key]) for key, gradient in gradients.items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_kernels_are_compiled_with_the_layers_that_run_them(twin, monkeypatch):
    arguments, blocks, compile_ = twin("videollama2") | {"recompute": 0}, Model.blocks, nn.Module.compile
    expected_B, expected = step("videollama2", arguments, None)
    calls = []
    monkeypatch.setattr(nn.Module, "compile", partialmethod(compile_, backend="aot_eager"))
    monkeypatch.setattr(Model, "blocks", lambda model: {"language": blocks(model)["language"]})
    monkeypatch.setattr(compiling, "_connectors", lambda _: ())
    score_B, gradients = step("videollama2", arguments, plain_kernels(calls), calls=calls, compiled=True)
    assert Counter(calls) == {"gated": 2, "rotary": 2, "rms_norm": 5}
    torch.testing.assert_close(score_B, expected_B, atol=1e-6, rtol=1e-5)
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[key], atol=1e-5, rtol=1e-4, msg=key)


def test_a_model_without_such_layers_is_refused():
    model = Tiny(BuildOptions(frames=None, audio=None), width=16, num_heads=2)
    with pytest.raises(ConfigError, match=r"trainer.kernels: Tiny has no layers that fused kernels exist for"):
        use_kernels(model, plain_kernels([]))


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("liger_kernel", "triton"))),
    reason="liger-kernel and Triton (300 MB) are not installed; docs/performance.md tells how to run this",
)
@pytest.mark.parametrize("name", ["videollama2", "qwen3_vl"])
def test_liger_computes_what_the_layers_do(name):
    command = [sys.executable, "-m", "tests.models.liger_interpreted", name]
    ran = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["num_gradients"] > 20
    assert found["scores"] < 1e-5
    assert found["gradients"] < 1e-5
