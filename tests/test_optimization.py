import json

import pytest
import torch
from torch import nn

from evqa.optimization import AdamW, WarmupCosine


def test_the_schedule_is_the_originals(golden):
    """LMM-EVQA trains with Hugging Face's cosine schedule and a warm-up ratio of 0.03."""
    reference = json.loads((golden / "metrics" / "metrics_losses.json").read_text())["lr_schedule"]
    for num_steps, case in reference.items():
        schedule = WarmupCosine(warmup=0.03)
        ours = [case["peak"] * schedule.factor(step, num_steps=int(num_steps)) for step in range(int(num_steps))]
        assert ours == pytest.approx(case["lr_used_at_each_step"], abs=1e-12)


def test_warm_up_rises_to_the_full_rate_and_the_cosine_ends_at_the_final_one():
    schedule = WarmupCosine(warmup=0.1, final=0.2)
    factors = [schedule.factor(step, num_steps=100) for step in range(101)]
    assert factors[0] == 0.0
    assert factors[10] == 1.0
    assert factors[5] == pytest.approx(0.5)
    assert factors[55] == pytest.approx(0.6)
    assert factors[100] == pytest.approx(0.2)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_parts_have_their_own_rates_and_vectors_are_not_decayed():
    layer = nn.Linear(3, 2)
    optimizer = AdamW(learning_rate=1e-3, rates={"vision": 2e-6}, weight_decay=0.1).build(
        [("vision", layer.weight), ("head", layer.bias), ("head", nn.Parameter(torch.zeros(2, 2)))]
    )
    groups = {(group["name"], group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert groups == {("vision", 2e-6, 0.1), ("head", 1e-3, 0.0), ("head", 1e-3, 0.1)}
