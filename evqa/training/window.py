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
        self.sum_S = torch.zeros(4, device=device)

    def add(self, loss: Tensor, count: Tensor, num_padded: tuple[Tensor, int]) -> Tensor:
        """Note a micro-batch; returns its loss as it is to be summed. num_padded: see `Output`."""
        padded, positions = num_padded
        held = [loss.detach() * count, count, padded, torch.tensor(positions, device=count.device)]
        self.sum_S += torch.stack([value.to(self.sum_S.dtype) for value in held])
        return loss * (count / self.unit) * self.num_batches

    def close(
        self, parameters: Iterable[nn.Parameter], *, world: int, add_up: Callable[[Tensor], Tensor]
    ) -> WindowMeans:
        """Divide the gradients by what the window held, and begin the next one.

        world: processes that their gradients were averaged over. add_up: sum of a tensor over these.
        """
        loss, count, padded, positions = add_up(self.sum_S.clone())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, self.unit * world / count.clamp_min(1.0))
        self.sum_S.zero_()
        return WindowMeans(loss / count, padded / positions)
