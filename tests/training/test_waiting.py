"""No training step waits for the device.

Run on the meta device, whose tensors have no values: whatever would have to know one (`item`, `tolist`, `nonzero`, an
index by truth values) is an error there. What is sent to a device must not wait for it either.
"""

import contextlib
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evqa.benchmarking.autocast import CudaCalls
from evqa.benchmarking.count import backward
from evqa.errors import RunError
from evqa.training.build import build_model, build_module
from evqa.training.finite import LateCheck
from evqa.training.plan import build, read_plan
from evqa.training.window import Window
from tests.models.toys import COMPOSER, MODELS, configure, options, samples

LABELS = torch.tensor([0.2, float("nan"), 0.6, 0.8])


class Sent(TorchDispatchMode):
    """Counts what is sent from the CPU to the device by calls that wait for it."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        is_sent = function._schema.name == "aten::_to_copy" and not args[0].is_meta
        if is_sent and kwargs.get("device") == torch.device("meta") and not kwargs.get("non_blocking"):
            self.waits["to"] += 1
        return function(*args, **kwargs)


@contextlib.contextmanager
def waits():
    """Counts the calls that wait, by what they do."""
    found = Counter()
    with CudaCalls(found), Sent(found):
        yield found


def test_what_waits_is_seen():
    with waits() as found:
        torch.tensor([1.0], device="meta")
        torch.ones(2).to("meta")
        torch.ones(2).to("meta", non_blocking=True)
    assert found == {"tensor": 1, "to": 1}


def step(module, inputs, window):
    output = module.model(inputs)
    loss = module.head.loss(output, LABELS, module.criterion)
    backward(window.add(loss, module.head.count(output, LABELS), output.num_padded()))
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    window.close(trained, world=1, add_up=lambda sum_S: sum_S)


@pytest.mark.parametrize(
    ("name", "head"),
    [(name, head) for name in MODELS for head in options("head") if "qwen" not in name or head == "levels"],
)
def test_a_step_knows_no_value_on_the_device(twin, name, head):
    plan = read_plan(configure(name, MODELS[name][1][-1], head, "r8", arguments=twin(name)))
    scorer = build_model(plan)
    module = build_module(plan, scorer)
    inputs = module.model.preparer.collate(samples(scorer, plan.modal, learn=True)).to("meta")
    module.to("meta").train()
    with waits() as found:
        step(module, inputs, Window(unit=4, num_batches=1, device=torch.device("meta")))
    assert not found


@pytest.mark.parametrize("loss", options("loss"))
def test_no_loss_knows_one_either(loss):
    criterion = build(COMPOSER.compose([f"loss={loss}"]).loss)
    score_B = torch.zeros(4, device="meta", requires_grad=True)
    with waits() as found:
        criterion(score_B, LABELS).backward()
    assert not found


def test_a_loss_that_is_not_finite_is_told_of_its_own_step_at_the_next():
    late = LateCheck()
    late.note(torch.tensor(1.0), "step 0")
    late.note(torch.tensor(float("nan")), "step 1")
    with pytest.raises(RunError, match="became nan at step 1"):
        late.note(torch.tensor(2.0), "step 2")
    late.note(torch.tensor(float("inf")), "step 3")
    with pytest.raises(RunError, match="became inf at step 3"):
        late.check()
    late.check()
