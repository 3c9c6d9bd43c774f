"""How well the learned words of a whole split are predicted, for heads without a score.

# B batch, N learned tokens
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from evqa.config.metric_names import ACCURACY, LOSS
from evqa.heads.base import Criterion, Head
from evqa.models.base import Model
from evqa.types import Batch, Failure, Output


@dataclass(frozen=True, kw_only=True)
class TokenLoss:
    """What has been read of a split: the loss summed over learned tokens, and counts of tokens and items.

    num_right: items whose learned tokens are all the likeliest in their place, so that greedy decoding gives them.
    """

    loss_sum: float = 0.0
    num_tokens: int = 0
    num_items: int = 0
    num_right: int = 0
    failures: tuple[Failure, ...] = ()

    def __add__(self, other: TokenLoss) -> TokenLoss:
        return TokenLoss(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def logged(self) -> dict[str, float]:
        """Name what a validation logs."""
        counts = {"val/n": float(self.num_items), "val/failed": float(len(self.failures))}
        return {LOSS: self.mean, ACCURACY: self.accuracy, **counts}

    @property
    def mean(self) -> float:
        """Mean over tokens, whichever batches and processes they were in; NaN without any."""
        return self.loss_sum / self.num_tokens if self.num_tokens else math.nan

    @property
    def accuracy(self) -> float:
        """Share of items that are right; NaN without any."""
        return self.num_right / self.num_items if self.num_items else math.nan


def loss_of(batch: Batch, *, model: Model, head: Head, criterion: Criterion) -> TokenLoss:
    """Take the loss of a batch, which is a mean over tokens, and count the items that are right."""
    if not len(batch):
        return TokenLoss(failures=batch.failures)
    output = model(batch.inputs)
    loss = head.loss(output, batch.label_B, criterion)
    num_tokens = head.count(output, batch.label_B)
    return TokenLoss(
        loss_sum=float(loss.detach()) * num_tokens,
        num_tokens=num_tokens,
        num_items=len(batch),
        num_right=len(batch) - _num_wrong(output),
        failures=batch.failures,
    )


@torch.no_grad()
def _num_wrong(output: Output) -> int:
    """Count the samples of which some learned token is not the likeliest."""
    hidden_ND, ids_N = output.learned()
    if not len(ids_N):
        return 0
    is_missed_N = (output.logits(hidden_ND).argmax(-1) != ids_N).tolist()
    return len({row for row, is_missed in zip(output.learned_of(), is_missed_N, strict=True) if is_missed})


def over_ranks(mine: TokenLoss) -> TokenLoss:
    """Add up what all processes have read; the same on every one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return mine
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, mine)
    return sum(parts, TokenLoss())
