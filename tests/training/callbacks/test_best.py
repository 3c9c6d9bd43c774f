"""Which state `best.ckpt` holds, asked of the files that a real training leaves."""

import math
import os

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch.utils.data import DataLoader

from evqa.training.callbacks.checkpoint_files import holds_training
from evqa.training.callbacks.checkpoints import Checkpoints
from evqa.training.callbacks.stopping import EarlyStopping

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")  # a list of one number needs none
NAN = math.nan


class Scripted(lightning.LightningModule):
    """Each epoch adds 1 to its only weight, and its validation gives the next number of a list."""

    def __init__(self, values):
        super().__init__()
        self.values, self.weight = values, torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, index):
        return -self.weight

    def validation_step(self, batch, index):
        for name in ("val/challenge", "val/loss"):
            self.log(name, torch.tensor(self.values[self.current_epoch]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def train(folder, values, *, epochs=None, resume=None, **settings):
    ours = Checkpoints(str(folder), **settings)
    trainer = lightning.Trainer(
        max_epochs=epochs or len(values),
        callbacks=[ours],
        enable_checkpointing=isinstance(ours, Checkpoint),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    one_batch = DataLoader([0], num_workers=0)
    trainer.fit(Scripted(values), one_batch, one_batch, ckpt_path=resume)


def epoch_of_best(folder):
    return int(torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]["weight"]) - 1


RULES = pytest.mark.parametrize(
    ("values", "best"),
    [
        ([0.3, 0.5, 0.4], 1),
        ([0.5, 0.49, 0.48], 0),
        ([0.5, 0.5], 0),
        ([-0.9, -0.2, -0.5], 1),
        ([0.9, 0.1, 0.95], 2),
        ([NAN, 0.1, NAN], 1),
        ([0.4, NAN, 0.3], 0),
    ],
    ids=str,
)


@RULES
def test_the_best_checkpoint_is_of_the_best_validation_and_the_first_of_equal_ones(tmp_path, values, best):
    train(tmp_path, values)
    assert epoch_of_best(tmp_path) == best


@RULES
def test_a_resumed_training_still_knows_the_best(tmp_path, values, best):
    train(tmp_path, values, epochs=1, keep="all")
    train(tmp_path, values, resume=tmp_path / "last.ckpt")
    assert epoch_of_best(tmp_path) == best


@pytest.mark.parametrize(
    ("values", "best"), [([0.3, 0.5, 0.4], 0), ([2.5, 1.49, 1.48], 2), ([0.5, 0.5], 0), ([NAN, 3.0, 0.0], 2)], ids=str
)
def test_of_the_loss_the_smallest_is_the_best_also_after_resuming(tmp_path, values, best):
    train(tmp_path, values, epochs=1, monitor="val/loss", keep="all")
    train(tmp_path, values, resume=tmp_path / "last.ckpt", monitor="val/loss")
    assert epoch_of_best(tmp_path) == best


@pytest.mark.parametrize(("monitor", "mode"), [("val/loss", "min"), ("val/srocc", "max")])
def test_early_stopping_waits_for_a_smaller_loss_or_a_larger_correlation(monitor, mode):
    assert EarlyStopping(monitor=monitor).mode == mode


def test_without_any_value_there_is_no_best_checkpoint(tmp_path):
    train(tmp_path, [NAN, NAN])
    assert not (tmp_path / "best.ckpt").exists()
    assert holds(tmp_path) == {"last.ckpt": False, "previous.ckpt": True}
    for again in (tmp_path / "previous.ckpt", tmp_path / "last.ckpt"):  # killed behind the two saves, and between them
        (tmp_path / "last.ckpt").unlink()
        os.link(tmp_path / "previous.ckpt", tmp_path / "last.ckpt")
        train(tmp_path, [NAN, NAN], resume=again)
        assert holds(tmp_path) == {"last.ckpt": False, "previous.ckpt": True}


def holds(folder):
    """Whether each checkpoint can be continued from."""
    files = {path.name: path for path in sorted(folder.glob("*.ckpt"))}
    return {name: holds_training(torch.load(path, weights_only=True)) for name, path in files.items()}


def test_the_best_checkpoint_holds_weights_alone_unless_all_is_kept(tmp_path):
    train(tmp_path / "best", [0.1, 0.2])
    assert holds(tmp_path / "best") == {"best.ckpt": False, "last.ckpt": True, "previous.ckpt": True}
    train(tmp_path / "all", [0.1, NAN], keep="all")
    assert all(holds(tmp_path / "all").values())
