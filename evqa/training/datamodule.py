"""The data of one run: its records, and loaders for each use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch

from evqa.training.batch_settings import BatchSettings
from evqa.training.batches import BatchLoader, Collate, Pipeline, Samples
from evqa.training.conversations import text_length
from evqa.training.order import Order
from evqa.types import Failure, Record


class ScoreDataModule(lightning.LightningDataModule):
    """Serves the splits of a data set in the order that (seed, epoch) gives.

    failures: of each split, what never became a record.
    evaluates_targets: whether evaluation has the words to learn in its input, for heads that are judged by their loss.
    origin: what the data held when a run loaded it (`evqa.runs.origin`); empty where no run did.
    """

    def __init__(
        self,
        splits: dict[str, tuple[Record, ...]],
        failures: Mapping[str, tuple[Failure, ...]],
        pipeline: Pipeline,
        batches: BatchSettings,
        *,
        seed: int,
        modal_dropout: float = 0.0,
        pin: bool = False,
        evaluates_targets: bool = False,
    ) -> None:
        super().__init__()
        self.evaluates_targets = evaluates_targets
        self.splits, self.failures, self.pipeline, self.batches = splits, failures, pipeline, batches
        self.seed, self.modal_dropout, self.pin = seed, modal_dropout, pin
        self.origin: dict[str, Any] = {}

    def train_dataloader(self) -> BatchLoader:
        """Shuffle the training split, records of the same files together; the last, smaller batch is kept."""
        return self._loader("train", trains=True)

    def val_dataloader(self) -> BatchLoader:
        """Serve the validation split in its own order."""
        return self.evaluation_loader("val")

    def evaluation_loader(self, split: str) -> BatchLoader:
        """Serve any split once, in its own order; without targets in the input (but see `evaluates_targets`)."""
        return self._loader(split, trains=False)

    def _loader(self, split: str, *, trains: bool) -> BatchLoader:
        records = self.splits[split]
        shared = self.pipeline
        samples = Samples(
            records=records,
            read=shared.read,
            preparer=shared.preparer,
            wording=shared.wording,
            prompt=shared.prompt,
            scale=shared.scale,
            learn=trains or self.evaluates_targets,
            modal_dropout=self.modal_dropout if trains else 0.0,
            seed=self.seed,
        )
        order = Order(
            num_records=len(records),
            batch_size=self.batches.batch_size,
            shuffle=trains,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world=self.trainer.world_size if self.trainer else 1,
            files=tuple(one.paths for one in records) if trains else None,
            costs=tuple(text_length(one, shared.prompt) for one in records) if trains and self.batches.bucket else None,
        )
        return BatchLoader(
            samples,
            order,
            Collate(shared.preparer),
            workers=self.batches.num_workers(),
            pin=self.pin and torch.cuda.is_available(),
        )
