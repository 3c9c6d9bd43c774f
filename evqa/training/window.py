"""One optimizer step: the micro-batches of all processes, as if they were one batch.

Lightning averages micro-batches, and DDP processes, whatever they hold: a last short window would count too little, a
small batch too much. So every loss, a mean, is weighted by what it is the mean of (items, or tokens), and the gradient
is divided by the whole number once before it is clipped. LMM-EVQA's trainer keeps the mean of means.

# S sums: loss, items or tokens it is the mean of, padded positions, positions
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class WindowMeans:
    """Means over a whole window, float32; NaN where it held nothing."""

    loss: Tensor
    padding: Tensor


class Window:
    """Counts what the micro-batches since the last optimizer step held, on this process.

    unit: what a full batch counts, the same on every process. A window of full batches changes no gradient by it.
    num_batches: micro-batches of a whole window, by which Lightning divides each loss.
    """

    def __init__(self, *, unit: int, num_batches: int, device: torch.device) -> None:
        self.unit, self.num_batches = unit, num_batches
        self.loss_sum, self.counts = torch.zeros(1, device=device), [0, 0, 0]

    def add(self, loss: Tensor, count: int, num_padded: tuple[int, int]) -> Tensor:
        """Note a micro-batch; returns its loss as it is to be summed. num_padded: see `Output`."""
        self.loss_sum += loss.detach() * count
        self.counts = [held + more for held, more in zip(self.counts, (count, *num_padded), strict=True)]
        return loss * (count / self.unit) * self.num_batches

    def close(
        self, parameters: Iterable[nn.Parameter], *, world: int, add_up: Callable[[Tensor], Tensor]
    ) -> WindowMeans:
        """Divide the gradients by what the window held, and begin the next one.

        world: processes that their gradients were averaged over. add_up: sum of a tensor over these.
        """
        counts_S = torch.tensor(self.counts, dtype=torch.float32).to(self.loss_sum.device, non_blocking=True)
        loss, count, padded, positions = add_up(torch.cat([self.loss_sum, counts_S]))
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, self.unit * world / count.clamp_min(1.0))
        self.loss_sum, self.counts = torch.zeros_like(self.loss_sum), [0, 0, 0]
        return WindowMeans(loss / count, padded / positions)
