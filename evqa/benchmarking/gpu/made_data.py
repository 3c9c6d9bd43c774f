"""Data of a run that lie in memory: the same batch again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import lightning
import torch

from evqa.training.batch_settings import BatchSettings
from evqa.types import Batch


class MadeLoader:
    """Yields a batch so many times; never waited for, so that nothing but computing is measured."""

    waited_s = 0.0

    def __init__(self, batch: Batch, num_batches: int) -> None:
        self.batch = batch.pin_memory() if torch.cuda.is_available() else batch
        self.num_batches = num_batches

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.num_batches):
            yield self.batch


class MadeData(lightning.LightningDataModule):
    """What `ScoreModule` asks of its data: batches of training, their size, and how many records there are."""

    def __init__(self, batch: Batch, settings: BatchSettings, num_batches: int) -> None:
        super().__init__()
        self.loader = MadeLoader(batch, num_batches)
        self.batches = replace(settings, batch_size=len(batch))
        self.splits = {"train": range(len(batch) * num_batches)}

    def train_dataloader(self) -> MadeLoader:
        """Serve them."""
        return self.loader

    def val_dataloader(self) -> MadeLoader:
        """Serve what Lightning asks for, though nothing is validated."""
        return self.loader
