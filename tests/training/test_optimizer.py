import pytest
import torch
from torch import nn

from evqa.training.optimizer import AdamW, WarmupCosine


def test_the_schedule_is_the_originals(golden_numbers):
    """LMM-EVQA trains with Hugging Face's cosine schedule and a warm-up ratio of 0.03."""
    for num_steps, case in golden_numbers["lr_schedule"].items():
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


@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
def test_no_number_of_steps_trains_nothing(num_steps, warmup):
    schedule = WarmupCosine(warmup=warmup)
    factors = [schedule.factor(step, num_steps=num_steps) for step in range(num_steps)]
    assert sum(factors) > 0
    assert num_steps > 1 or factors == [1.0]


def test_parts_have_their_own_rates_and_vectors_are_not_decayed():
    layer = nn.Linear(3, 2)
    optimizer = AdamW(learning_rate=1e-3, rates={"vision": 2e-6}, weight_decay=0.1).build(
        [("vision", layer.weight), ("head", layer.bias), ("head", nn.Parameter(torch.zeros(2, 2)))]
    )
    groups = {(group["name"], group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert groups == {("vision", 2e-6, 0.1), ("head", 1e-3, 0.0), ("head", 1e-3, 0.1)}


def test_a_short_training_has_a_warm_up_and_a_way_down():
    schedule = WarmupCosine(warmup=0.03)
    assert [schedule.factor(step, num_steps=3) for step in range(3)] == pytest.approx([0.0, 1.0, 0.5])


def test_without_warm_up_the_first_step_has_the_full_rate_and_none_after_the_end_rises():
    schedule = WarmupCosine(warmup=0.0, final=0.1)
    assert [schedule.factor(step, num_steps=2) for step in (0, 1, 2, 3, 4)] == pytest.approx([1, 0.55, 0.1, 0.1, 0.1])
    assert [schedule.factor(step, num_steps=1) for step in (0, 1)] == pytest.approx([1, 0.1])


def test_the_optimizer_gets_the_schedule_and_all_of_its_settings():
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = AdamW(learning_rate=0.5, betas=(0.8, 0.9), eps=1e-3).build([("head", weight)])
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.8, 0.9), 1e-3)
    schedule = WarmupCosine(warmup=0.5).build(optimizer, num_steps=4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.0, 0.25, 0.5, 0.25])


def test_a_rate_that_nobody_gave_is_a_programming_mistake():
    with pytest.raises(ValueError, match=r"^the model's own learning rate was not filled in$"):
        AdamW(rates={"head": 1.0}).rate("vision")
