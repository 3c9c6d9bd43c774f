"""Moments of a device's own time, taken without waiting for it."""

from __future__ import annotations

import time
from typing import Any

import torch


class DeviceClock:
    """On a GPU events between its kernels, elsewhere the processor's clock."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._is_cuda = device.type == "cuda"

    def now(self) -> Any:
        """Take a moment: on a GPU it comes when all is done that was asked of it before."""
        if not self._is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def ms(self, first: Any, second: Any) -> float:
        """Milliseconds from one moment to another; on a GPU `wait` comes before."""
        return float(first.elapsed_time(second)) if self._is_cuda else 1000 * (second - first)

    def wait(self) -> None:
        """Let the device finish what was asked of it."""
        if self._is_cuda:
            torch.cuda.synchronize(self.device)
