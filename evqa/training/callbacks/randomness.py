"""Random numbers that depend on the place in the run, so that a resumed run continues bit by bit."""

from __future__ import annotations

import random
from typing import Any

import lightning
import numpy as np
import torch

from evqa.training.order import seed_of


class StatelessRandomness(lightning.Callback):
    """Seed every step from (seed, epoch, batch, rank); there is no random state to save."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_index: int
    ) -> None:
        """Seed torch, NumPy and Python before dropout and the like draw from them."""
        seed = seed_of("step", self.seed, trainer.current_epoch, batch_index, trainer.global_rank)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
