"""Right-padded rows need no mask in a causal model: what is read of real positions, and every gradient, is the same."""

import pytest
import torch
from torch.nn import functional

from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import MODELS, configure, randomise, samples

MASKED = sorted(set(MODELS) - {"tiny"})  # its own language model never takes a mask


@pytest.fixture
def attention_masks(monkeypatch):
    """Collects the masks that attention in a language model (causal, or with a mask) is called with."""
    seen = []
    attend = functional.scaled_dot_product_attention

    def watched(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **more):
        seen.append((attn_mask, is_causal))
        return attend(query, key, value, attn_mask, dropout_p, is_causal, **more)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    return seen


def step(module, items):
    """Loss, mean and answer states, gradients, and what stands at the padded positions."""
    module.zero_grad()
    output = module.model(module.model.preparer.collate(items))
    loss = module.head.loss(output, torch.tensor([0.2, 0.4, 0.6, 0.8]), module.criterion)
    loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in module.named_parameters() if weight.grad is not None}
    return loss, [output.mean_BD(), output.answer_BD()], gradients, output.hidden_BTD[~output.mask_BT]


@pytest.mark.parametrize("head", ["regression", "levels"])
@pytest.mark.parametrize("name", MASKED)
def test_scores_losses_and_gradients_need_no_mask(twin, name, head, attention_masks):
    torch.manual_seed(0)
    plan = read_plan(configure(name, MODELS[name][1][-1], head, "r8", arguments=twin(name)))
    assert not plan.reads_padding
    scorer = build_model(plan)
    module = build_module(plan, scorer).eval()
    randomise(module)
    items = samples(scorer, plan.modal, learn=True)
    loss, states, gradients, padded = step(module, items)
    causal = sum(is_causal for _, is_causal in attention_masks)
    assert causal > 0
    attention_masks.clear()

    module.model.hide_padding = True
    expected_loss, expected_states, expected_gradients, hidden = step(module, items)
    assert not any(is_causal for _, is_causal in attention_masks)
    assert len(padded) > 0
    assert not torch.allclose(padded, hidden), "padding sees other padding where no mask hides it"
    torch.testing.assert_close(loss, expected_loss, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(states, expected_states, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    for key, gradient in gradients.items():
        close = 1e-4 * float(expected_gradients[key].abs().max()) + 1e-7
        torch.testing.assert_close(gradient, expected_gradients[key], atol=close, rtol=0, msg=key)


def test_a_head_that_reads_padding_hides_it():
    config = configure("videollama2", "av", "regression", arguments={})
    config.head.pooling = "original"
    assert read_plan(config).options(load=False, device="cpu").hide_padding
