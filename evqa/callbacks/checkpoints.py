"""Checkpoints: the best one by a metric, and the current one with its predecessor, each whole or not there at all."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated, Any, cast

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from evqa.callbacks.requeue import Stops
from evqa.errors import CheckpointError
from evqa.metrics.names import Monitored

CHECKSUM = ".sha256"


class _Hashing(io.RawIOBase):
    """A file that hashes what passes through, so that a checkpoint is read only once."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self.file, self.hash = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return int(self.file.write(data))


class WholeCheckpointIO(TorchCheckpointIO):
    """Write to a temporary file in the same folder, flush it to the disk, rename; the checksum lies beside it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save so that a kill at any moment leaves the old file or the new one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        side = path.with_name(path.name + CHECKSUM)
        try:
            with temporary.open("wb") as file:
                hashing = _Hashing(file)
                torch.save(checkpoint, cast("IO[bytes]", hashing))
                file.flush()
                os.fsync(file.fileno())
            side.unlink(missing_ok=True)  # never an old checksum beside a new file
            temporary.replace(path)
            _write_whole(side, hashing.hash.hexdigest() + "\n")
        finally:
            temporary.unlink(missing_ok=True)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint and its checksum."""
        super().remove_checkpoint(path)
        Path(f"{path}{CHECKSUM}").unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(path: Path) -> str | None:
    """Say what is wrong with a checkpoint file, or None where its checksum is right.

    Without a checksum (killed between the two renames) the file counts as whole when it can be read.
    """
    side = path.with_name(path.name + CHECKSUM)
    if not path.exists():
        return "does not exist"
    if side.exists():
        return None if checksum(path) == side.read_text().strip() else "is damaged (its checksum is wrong)"
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # noqa: BLE001 - unpickling damaged data raises anything
        return f"is damaged ({type(error).__name__})"
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint without unpickling code.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    if reason := damage(path):
        raise CheckpointError(f"{path} {reason}")
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint


def newest_whole(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint to resume from, passing over damaged ones with a warning."""
    for path in (folder / "last.ckpt", folder / "previous.ckpt"):
        if path.exists():
            reason = damage(path)
            if reason is None:
                return path
            warn(f"{path} {reason}; trying the one before")
    return None


class Checkpoints(lightning.Callback):
    """Keep `best.ckpt`, `last.ckpt` and `previous.ckpt`, and save once more before an asked-for stop.

    monitor: metric to maximise for the best checkpoint. every_steps: optimizer steps between two saves of the last
    one; every validation saves too. A batch's end is safe when it ends an optimizer step, but neither the epoch nor
    the way to a validation: from elsewhere Lightning 2.6 would lose gradients or skip that validation on resuming.
    A validation or evaluation that is asked to stop does so between two batches and is repeated on resuming.
    """

    def __init__(
        self,
        folder: str,
        *,
        monitor: Monitored = "val/challenge",
        every_steps: Annotated[int, "1 <= every_steps"] = 200,
    ) -> None:
        self.folder, self.monitor, self.every_steps = Path(folder), monitor, every_steps
        self.best: float | None = None
        self.stops = Stops()  # the program sets the one that listens
        self._saved_step = -1

    def state_dict(self) -> dict[str, Any]:
        """Remember the best value across restarts."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value."""
        self.best = state_dict["best"]

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Remove what a killed save left behind."""
        if trainer.is_global_zero:
            for leftover in self.folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Count from the step that was restored."""
        self._saved_step = trainer.global_step

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
            self._save_last(trainer)
        self._stop_if_asked(trainer)

    def on_validation_batch_end(self, *arguments: Any) -> None:
        """Stop between two batches, each process on its own: their numbers of batches may differ."""
        if self.stops.number:
            self.stops.stop()

    def on_predict_batch_end(self, *arguments: Any) -> None:
        """Stop between two batches."""
        self.on_validation_batch_end()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save the best by the monitored metric."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        value = float(trainer.callback_metrics.get(self.monitor, torch.tensor(float("nan"))))
        if value == value and (self.best is None or value > self.best):
            self.best = value
            trainer.save_checkpoint(self.folder / "best.ckpt")

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save the epoch's end."""
        self._save_last(trainer)
        self._stop_if_asked(trainer)

    def _save_last(self, trainer: lightning.Trainer) -> None:
        last = self.folder / "last.ckpt"
        if trainer.is_global_zero and last.exists():
            for suffix in (CHECKSUM, ""):
                old, new = self.folder / f"last.ckpt{suffix}", self.folder / f"previous.ckpt{suffix}"
                new.unlink(missing_ok=True)
                if old.exists():
                    os.link(old, new)
        trainer.save_checkpoint(last)
        self._saved_step = trainer.global_step

    def _stop_if_asked(self, trainer: lightning.Trainer) -> None:
        """Stop after the same batch on every process, whichever of them was asked."""
        asked = torch.tensor(self.stops.number, device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(asked, reduce_op="max"))
        if not number:
            return
        if trainer.global_step != self._saved_step:
            self._save_last(trainer)
        trainer.strategy.barrier("interrupted")
        self.stops.stop(number)
