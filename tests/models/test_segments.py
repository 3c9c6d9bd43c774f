"""Attention inside segments: what transformers computes one after the other, in few calls."""

import pytest
import torch
from torch.nn import functional

from evqa.models.segments import Segments, attend
from evqa.training.build import build_model
from evqa.training.plan import read_plan
from evqa.types import Clip
from tests.models import samples
from tests.models.toys import MODELS, configure

QWEN = [name for name in MODELS if "qwen" in name]
CPU = torch.device("cpu")


def rows(num_positions, dtype):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num_positions, 2, 8, generator=generator).to(dtype).requires_grad_() for _ in range(4)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [(5,), (3, 3, 3), (4, 1, 6, 4, 4, 1, 2)])
def test_few_calls_give_the_bits_of_one_call_a_segment(lengths, dtype):
    *inputs, learned = rows(sum(lengths), dtype)
    ours = attend(*inputs, Segments(lengths, CPU), scale=0.3)
    apart = zip(*(row.transpose(0, 1).unsqueeze(0).split(lengths, dim=2) for row in inputs), strict=True)
    each = [functional.scaled_dot_product_attention(*segment, scale=0.3) for segment in apart]
    theirs = torch.cat(each, dim=2)[0].transpose(0, 1)
    assert torch.equal(ours, theirs)
    gradients = (torch.autograd.grad(mixed, inputs, learned) for mixed in (ours, theirs))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def run(model, clips, monkeypatch):
    """Hidden states at real positions, and the calls of attention that the encoders made for them."""
    calls, real = [], functional.scaled_dot_product_attention

    def counted(query, *args, **kwargs):
        if not kwargs.get("is_causal"):
            calls.append(query.shape)
        return real(query, *args, **kwargs)

    batch = model.preparer.collate([samples.prepared(model, clip) for clip in clips])
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(functional, "scaled_dot_product_attention", counted)
        output = model(batch)
    return output.hidden_BTD[output.mask_BT], len(calls)


@pytest.mark.parametrize("name", QWEN)
def test_calls_do_not_grow_with_the_batch_and_give_transformers_own_bits(twin, name, monkeypatch):
    modal = MODELS[name][1][-1]
    model = build_model(read_plan(configure(name, modal, "regression", arguments=twin(name)))).model.eval()
    towers = [tower for tower in (model.body.visual, getattr(model.body, "audio_tower", None)) if tower]
    clip = samples.clip(modal, num_frames=4, width=196, seconds=2.7)
    _, calls = run(model, [clip], monkeypatch)
    _, of_three = run(model, [clip] * 3, monkeypatch)
    assert calls == of_three <= 4 * sum(len(getattr(tower, "blocks", None) or tower.layers) for tower in towers)

    clips = [clip, samples.clip(modal, num_frames=3, width=84, seconds=1.1, seed=1), Clip()]
    ours, few = run(model, clips, monkeypatch)
    for tower in towers:
        tower.config._attn_implementation = "sdpa"
    theirs, many = run(model, clips, monkeypatch)
    assert torch.equal(ours, theirs)
    assert many >= 2 * few
