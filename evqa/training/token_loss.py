"""The loss of a whole split over its learned tokens, for heads without a score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from evqa.heads.base import Criterion, Head
from evqa.metrics.names import LOSS
from evqa.models.base import Model
from evqa.types import Batch, Failure


@dataclass(frozen=True, kw_only=True)
class TokenLoss:
    """What has been read of a split: the loss summed over learned tokens, and counts of tokens and items."""

    loss_sum: float = 0.0
    num_tokens: int = 0
    num_items: int = 0
    failures: tuple[Failure, ...] = ()

    def __add__(self, other: TokenLoss) -> TokenLoss:
        return TokenLoss(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def logged(self) -> dict[str, float]:
        """Name what a validation logs."""
        return {LOSS: self.mean, "val/n": float(self.num_items), "val/failed": float(len(self.failures))}

    @property
    def mean(self) -> float:
        """Mean over tokens, whichever batches and processes they were in; NaN without any."""
        return self.loss_sum / self.num_tokens if self.num_tokens else math.nan


def loss_of(batch: Batch, *, model: Model, head: Head, criterion: Criterion) -> TokenLoss:
    """Take the loss of a batch, which is a mean over tokens."""
    if not len(batch):
        return TokenLoss(failures=batch.failures)
    output = model(batch.inputs)
    loss = head.loss(output, batch.label_B, criterion)
    num_tokens = int(head.count(output, batch.label_B))
    return TokenLoss(
        loss_sum=float(loss.detach()) * num_tokens, num_tokens=num_tokens, num_items=len(batch), failures=batch.failures
    )


def over_ranks(mine: TokenLoss) -> TokenLoss:
    """Add up what all processes have read; the same on every one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return mine
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, mine)
    return sum(parts, TokenLoss())
