"""A few steps under torch's profiler: a trace for its viewers, and how much of the time the GPU computes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile


class StepTrace:
    """Profiles the steps between `start` and `stop`. file: also writes them, for chrome://tracing or Perfetto."""

    def __init__(self, device: torch.device, file: Path | None) -> None:
        self.file = file
        self._is_cuda = device.type == "cuda"
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._is_cuda else [])]
        self._profile = profile(activities=kinds)

    def start(self) -> None:
        """Begin."""
        self._profile.start()

    def stop(self) -> float | None:
        """Write the file; returns the share of the time in which kernels ran, None without a GPU. Raises OSError."""
        self._profile.stop()
        if self.file is not None:
            self._profile.export_chrome_trace(str(self.file))
        return busy_share(self._profile.events() or ()) if self._is_cuda else None


def busy_share(events: Iterable[Any]) -> float | None:
    """Share of the time from the first kernel to the last one's end in which at least one ran; None without any."""
    on_device = (e for e in events if e.device_type != DeviceType.CPU and not e.is_user_annotation)
    spans = sorted((e.time_range.start, e.time_range.end) for e in on_device)
    if not spans:
        return None
    busy, until = 0.0, spans[0][0]
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / (until - spans[0][0]) if until > spans[0][0] else None
