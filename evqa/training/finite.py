"""Is the loss finite? Read one step later, so that no step waits for the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from evqa.errors import RunError


class LateCheck:
    """Holds the last loss until somebody asks: the next step, a validation, a checkpoint, the end of the training."""

    def __init__(self) -> None:
        self._value: Tensor | None = None
        self._is_there: torch.cuda.Event | None = None
        self._where = ""

    def note(self, loss: Tensor, where: str) -> None:
        """Check the loss before, and hold this one. where: names its step and batch."""
        self.check()
        self._value, self._where = loss.detach(), where
        if loss.is_cuda:
            self._value = torch.empty((), dtype=loss.dtype, pin_memory=True).copy_(loss.detach(), non_blocking=True)
            self._is_there = torch.cuda.Event()
            self._is_there.record()

    def check(self) -> None:
        """Raise RunError where the loss that is held is not finite."""
        if self._value is None:
            return
        if self._is_there is not None:
            self._is_there.synchronize()
        value, self._value = float(self._value), None
        if not math.isfinite(value):
            raise RunError(
                f"The training loss became {value} at {self._where}. Lower optimizer.learning_rate, or look at these "
                "items; the last checkpoint is from before."
            )
