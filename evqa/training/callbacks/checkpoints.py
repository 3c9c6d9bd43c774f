"""Checkpoints: the best one by a metric, and the current one with its predecessor, each whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint

from evqa.config.metric_names import LOSS, Monitored
from evqa.config.paths import surplus_checkpoints
from evqa.errors import CheckpointError, FileError
from evqa.files.regular import why
from evqa.training.callbacks.checkpoint_files import SIDE, best_of, holds_training, read_checkpoint
from evqa.training.callbacks.requeue import Stops

WEIGHTS_ALONE = (
    "holds weights alone, as a finished run keeps them, and cannot be continued from "
    "(callbacks.checkpoints.keep=all keeps the optimizer's state)"
)


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """The checkpoint that a run continues from, and its content."""

    path: Path
    state: dict[str, Any]


def newest_whole(folder: Path, warn: Callable[[str], None], *, mapped: bool = False) -> Continuation | None:
    """Return the newest checkpoint that can be continued from, passing over others with a warning.

    A checkpoint that remembers a best value needs the best checkpoint: where that one is lost, an earlier checkpoint or
    the beginning makes it again, bit by bit. mapped: see `read_checkpoint`.
    """
    for path in (folder / "last.ckpt", folder / "previous.ckpt"):
        if not path.exists():
            continue
        try:
            state = read_checkpoint(path, mapped=mapped)
        except CheckpointError as error:
            warn(f"{error}; trying the one before")
            continue
        if not holds_training(state):
            warn(f"{path} {WEIGHTS_ALONE}; trying the one before")
            continue
        lost = None if best_of(state) is None else _reason(folder / "best.ckpt", mapped=mapped)
        if lost is None:
            return Continuation(path=path, state=state)
        warn(f"{lost}, and {path.name} counts on it; trying the one before")
    return None


def _reason(path: Path, *, mapped: bool) -> str | None:
    try:
        read_checkpoint(path, mapped=mapped)
    except CheckpointError as error:
        return str(error)
    return None


class Checkpoints(Checkpoint):
    """Keep `best.ckpt`, `last.ckpt` and `previous.ckpt`, and save once more before an asked-for stop.

    monitor: metric of the best checkpoint: its largest value, of `val/loss` its smallest.
    every_steps: optimizer steps between two saves of the last one; every validation saves too. A batch's end is safe
    when it ends an optimizer step, but neither the epoch nor the way to a validation: from elsewhere Lightning 2.6
    would lose gradients or skip that validation on resuming.
    keep: best leaves a finished run the weights that it is scored with, without the optimizer's state: a third of a
    full checkpoint, and nothing else. all keeps all three, and the optimizer's state in each.
    A validation or evaluation that is asked to stop does so between two batches and is repeated on resuming.

    Lightning calls callbacks of this kind behind all others, so that a checkpoint holds what the others have decided at
    the same moment; whether one of them has ended the training is remembered here, because Lightning forgets it.
    """

    def __init__(
        self,
        folder: str,
        *,
        monitor: Monitored = "val/challenge",
        every_steps: Annotated[int, "1 <= every_steps"] = 200,
        keep: Literal["best", "all"] = "best",
    ) -> None:
        self.folder, self.monitor, self.every_steps, self.keep = Path(folder), monitor, every_steps, keep
        self.best: float | None = None
        self.ended = False  # by early stopping and the like
        self.stops = Stops()  # the program sets the one that listens
        self._saved_step = -1
        self._last_is_whole = False  # and not the weights alone

    @property
    def saved_step(self) -> int:
        """Optimizer steps that the last checkpoint holds; -1 where there is none."""
        return self._saved_step

    def state_dict(self) -> dict[str, Any]:
        """Remember the best value and the end across restarts."""
        return {"best": self.best, "ended": self.ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value and the end."""
        self.best, self.ended = state_dict["best"], state_dict.get("ended", False)

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Remove what a killed save left behind; remember whether the last checkpoint was continued from."""
        self._last_is_whole = trainer.ckpt_path is not None and Path(trainer.ckpt_path).name == "last.ckpt"
        if trainer.is_global_zero:
            for leftover in self.folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Count from the step that was restored; train no more where the training had ended."""
        self._saved_step = trainer.global_step
        trainer.should_stop = trainer.should_stop or self.ended

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Save at a safe step when it is time or when the run was asked to stop."""
        loop = trainer.fit_loop.epoch_loop
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        unfinished = (index + 1) % trainer.accumulate_grad_batches != 0
        if unfinished or loop.batch_progress.is_last_batch or loop._should_check_val_fx(fetcher):
            return
        if trainer.global_step - self._saved_step >= self.every_steps:
            self._save_step(trainer)
        self._stop_if_asked(trainer)

    def on_validation_batch_end(self, *arguments: Any) -> None:
        """Stop between two batches, each process on its own: their numbers of batches may differ."""
        if self.stops.number:
            self.stops.stop()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save the best by the monitored metric."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        value = float(trainer.callback_metrics.get(self.monitor, torch.tensor(float("nan"))))
        if value == value and (self.best is None or self._is_better(value, self.best)):
            self.best = value
            trainer.save_checkpoint(self.folder / "best.ckpt", weights_only=self.keep == "best")

    def _is_better(self, value: float, best: float) -> bool:
        return value < best if self.monitor == LOSS else value > best

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save the epoch's end, which may be the training's."""
        self.ended = trainer.should_stop
        self._save_last(trainer)
        self._stop_if_asked(trainer)

    def _save_step(self, trainer: lightning.Trainer) -> None:
        """Save after a step. Lightning would log it only after the callbacks, and the next life logs the next step."""
        trainer._logger_connector.update_train_step_metrics()
        self._save_last(trainer)

    def on_fit_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Leave the last checkpoint its weights alone where it will be scored with, for there is no best one.

        What can be continued from becomes its predecessor, in case the evaluation is killed.
        """
        if self.keep == "all" or self.best is not None:
            return
        last = self.folder / "last.ckpt"
        if trainer.is_global_zero and self._last_is_whole:
            self._make_predecessor()
        self._last_is_whole = False
        trainer.save_checkpoint(last, weights_only=True)

    def drop_surplus(self) -> None:
        """Remove what a finished run keeps no longer. A kill before the end of this costs disk space alone."""
        if self.keep == "best":
            for path in surplus_checkpoints(self.folder.parent):
                path.unlink(missing_ok=True)

    def _save_last(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero and (self.folder / "last.ckpt").exists():
            self._make_predecessor()
        trainer.save_checkpoint(self.folder / "last.ckpt")
        self._last_is_whole = True
        self._saved_step = trainer.global_step

    def _make_predecessor(self) -> None:
        last, previous = self.folder / "last.ckpt", self.folder / "previous.ckpt"
        try:
            Path(f"{previous}{SIDE}").unlink(missing_ok=True)
            previous.unlink(missing_ok=True)
            os.link(last, previous)
        except OSError as error:
            raise FileError(previous, why(error, "written")) from error

    def _stop_if_asked(self, trainer: lightning.Trainer) -> None:
        """Stop after the same batch on every process, whichever of them was asked."""
        asked = torch.tensor(self.stops.number, device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(asked, reduce_op="max"))
        if not number:
            return
        if trainer.global_step != self._saved_step:
            self._save_step(trainer)
        trainer.strategy.barrier("interrupted")
        self.stops.stop(number)
