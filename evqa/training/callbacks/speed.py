"""Throughput and the share of time that training waits for data."""

from __future__ import annotations

import time
from typing import Annotated, Any

import lightning
import torch

from evqa.training.batches import BatchLoader
from evqa.types import Batch


class Speed(lightning.Callback):
    """Log samples a second and the waiting share over windows of `every` steps, and peak memory on a GPU."""

    def __init__(self, *, every: Annotated[int, "1 <= every"] = 10) -> None:
        self.every = every
        self._begin()

    def _begin(self) -> None:
        self._started, self._samples, self._waited = time.perf_counter(), 0, 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin a window; validation does not count."""
        self._begin()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Log at the end of a window."""
        self._samples += len(batch)
        if (index + 1) % self.every and not trainer.is_last_batch:
            return
        seconds = time.perf_counter() - self._started
        loader = trainer.train_dataloader
        waited_s = loader.waited_s if isinstance(loader, BatchLoader) else 0.0
        module.log("speed/samples_per_second", self._samples * trainer.world_size / seconds)
        module.log("speed/data_wait", max(0.0, waited_s - self._waited) / seconds)
        if torch.cuda.is_available():
            module.log("speed/peak_gigabytes", torch.cuda.max_memory_allocated() / 1e9)
        self._begin()
        self._waited = waited_s
