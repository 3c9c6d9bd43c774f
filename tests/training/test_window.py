"""One optimizer step follows the loss over all its items (or tokens), however they came in batches and processes."""

from functools import partialmethod
from types import SimpleNamespace

import lightning
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from evqa.config.compose import compose
from evqa.models.compiling import compile_blocks
from evqa.runs.trainer import quiet_lightning
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from evqa.types import Batch, Failure, Inputs
from tests.models.toys import configure, options, samples

LABELS = [0.1, 0.9, 0.3, 0.6, 0.75, 0.2, 0.5]
# By name: micro-batches of a window, and the windows of item numbers that each process is given.
CASES = {
    "one full batch": (1, [[[0, 1, 2, 3]]]),
    "one short batch": (1, [[[0, 1, 2]]]),
    "equal batches": (3, [[[0, 1], [2, 3], [4, 5]]]),
    "unequal batches": (3, [[[0, 1, 2, 3], [4], [5, 6]]]),
    "a short last window": (3, [[[0, 1], [2, 3], [4, 5]], [[6, 0], [1]]]),
    "failures": (2, [[[0], [1, 2, 3, 4]], [[], [5, 6]]]),
    "a batch of failures alone": (2, [[[], [0, 1, 2]]]),
}
MEANS = [loss for loss in options("loss") if loss not in ("plcc", "rank", "mse_plcc")]
HEADS = [*[("regression", loss) for loss in MEANS], ("levels", "mse"), ("text", "mse")]


def make(head, loss="mse"):
    config = configure("tiny", "av", head, arguments={"width": 8, "num_heads": 2})
    for key, value in {"head.dropout": 0.0, "optimizer.learning_rate": 0.0}.items():
        if OmegaConf.select(config, key, default=config) is not config:
            OmegaConf.update(config, key, value)
    config.loss = compose([f"loss={loss}"]).loss
    scorer = build_model(read_plan(config))
    module = build_module(read_plan(config), scorer)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    four = samples(scorer, "av", learn=True)
    return module, [four[number % 4] for number in range(len(LABELS))]


def batch_of(module, items, numbers):
    """Collate some items; fewer than four stand beside failures."""
    failures = tuple(Failure(id=f"bad{n}", reason="is empty") for n in range(4 - len(numbers)))
    if not numbers:
        return Batch(ids=(), inputs=Inputs(), label_B=torch.zeros(0), failures=failures)
    inputs = module.model.preparer.collate([items[number] for number in numbers])
    labels = torch.tensor([LABELS[number] for number in numbers])
    return Batch(ids=tuple(map(str, numbers)), inputs=inputs, label_B=labels, failures=failures)


class Served(list):
    """A loader; of a plain list Lightning would make many."""


class Given(lightning.LightningDataModule):
    """Serves each process its own batches."""

    def __init__(self, by_rank):
        super().__init__()
        self.by_rank, self.batches, self.splits = by_rank, SimpleNamespace(batch_size=4), {"train": range(10**6)}

    def train_dataloader(self):
        return Served(self.by_rank[self.trainer.global_rank])

    def val_dataloader(self):
        return Served([])


class Gradients(lightning.Callback):
    """Keeps what the optimizer is given at each step, and the loss that is logged."""

    def __init__(self, place=None):
        self.steps, self.losses, self.place = [], [], place

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        if trainer.global_step > len(self.steps):  # the gradients of a step are kept until the next backward pass
            self.steps.append({name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None})
            self.losses.append(float(trainer.callback_metrics["train/loss"]))

    def on_fit_end(self, trainer, module):
        if self.place and trainer.is_global_zero:
            torch.save((self.steps, self.losses), self.place)


def fit(module, by_rank, accumulate, gradients, **options):
    quiet_lightning()
    trainer = lightning.Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "devices": 1, "accumulate_grad_batches": accumulate, **options},
        **{"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "limit_val_batches": 0},
        **{"enable_model_summary": False, "use_distributed_sampler": False, "callbacks": [gradients]},
    )
    trainer.fit(module, datamodule=Given(by_rank))


def check_step(module, items, numbers, gradients, logged):
    """Compare with one batch of all items."""
    module.zero_grad()
    whole = batch_of(module, items, numbers)
    loss = module.head.loss(module.model(whole.inputs), whole.label_B, module.criterion)
    loss.backward()
    assert logged == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("head", "loss"), HEADS)
def test_a_step_is_that_of_one_batch_of_all_its_items(head, loss, case):
    accumulate, windows = CASES[case]
    module, items = make(head, loss)
    seen = Gradients()
    fit(module, [[batch_of(module, items, n) for window in windows for n in window]], accumulate, seen)
    assert len(seen.steps) == len(windows)
    for window, gradients, loss in zip(windows, seen.steps, seen.losses, strict=True):
        check_step(module, items, [number for batch in window for number in batch], gradients, loss)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler's own look
@pytest.mark.parametrize(("head", "compiled"), [("regression", False), ("text", False), ("regression", True)])
def test_a_step_of_two_processes_is_that_of_one_batch_of_all_their_items(tmp_path, monkeypatch, head, compiled):
    """One of them holds more items in fewer batches, the other a batch of failures alone."""
    module, items = make(head)
    if compiled:
        monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
        compile_blocks(module.model)
    by_rank = [[[0, 1, 2, 3], [4]], [[], [5, 6]]]
    gradients = Gradients(tmp_path / "seen.pt")
    batches = [[batch_of(module, items, numbers) for numbers in rank] for rank in by_rank]
    fit(module, batches, 2, gradients, devices=2, strategy="ddp_fork")
    steps, losses = torch.load(tmp_path / "seen.pt")
    (step,) = steps
    module, _ = make(head)  # as one process has it, and not compiled
    check_step(module, items, range(7), step, losses[-1])
