"""Weights are loaded whole and exactly, or not at all."""

import pytest
import torch

from evqa.config.compose import compose
from evqa.errors import CheckpointError
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan


@pytest.fixture(scope="module")
def module(little):
    config = compose([*little, "modal=v"])
    return build_module(read_plan(config), build_model(read_plan(config)))


def trained(module):
    return {name: weight.clone() + 1 for name, weight in module.named_parameters() if weight.requires_grad}


def test_weights_that_fit_are_taken_over(module):
    state = trained(module)
    module.load_trained({"state_dict": state})
    assert all(torch.equal(weight, state[name]) for name, weight in module.named_parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state | {"head.surprise": torch.ones(1)}, "unexpected ['head.surprise'] (1)"),
        (
            lambda state: state | {"model.extra": torch.ones(1), "a": torch.ones(1)},
            "unexpected ['a', 'model.extra'] (2)",
        ),
        (lambda state: {n: t for n, t in state.items() if n != "head.fc2.bias"}, "missing ['head.fc2.bias'] (1)"),
        (lambda state: state | {"head.fc2.bias": torch.ones(2)}, "other shapes ['head.fc2.bias'] (1)"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(module, change, sentence):
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    with pytest.raises(CheckpointError) as error:
        module.load_trained({"state_dict": change(trained(module))})
    assert sentence in str(error.value)
    assert all(torch.equal(weight, before[name]) for name, weight in module.named_parameters())
