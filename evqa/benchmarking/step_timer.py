"""Times steps after a warm-up, then the parts of a few more, then traces a few.

# B batch, T tokens
"""

from __future__ import annotations

import resource
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evqa.benchmarking.clock import DeviceClock
from evqa.benchmarking.measure import Spread
from evqa.benchmarking.part_times import PartTimes
from evqa.benchmarking.step_report import StepTimes
from evqa.benchmarking.trace import StepTrace
from evqa.models.base import Model
from evqa.types import Batch, Output

TRACED_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How many steps of which kind; all but `timed` are measured apart from the speed.

    trace: a file for torch's profiler; without one, steps are profiled on a GPU alone, for its busy share.
    """

    warmup: int = 5
    timed: int = 20
    parts: int = 4
    trace: Path | None = None

    def traced(self, device: torch.device) -> int:
        """Count the steps that are profiled."""
        return TRACED_STEPS if device.type == "cuda" or self.trace is not None else 0

    def total(self, device: torch.device) -> int:
        """Count all of them."""
        return self.warmup + self.timed + self.parts + self.traced(device)


class StepTimer:
    """Is told where every step of a model begins and ends. example: the first batch, on the CPU."""

    def __init__(self, model: Model, device: torch.device, steps: Steps) -> None:
        self.model, self.steps = model, steps
        self.clock = DeviceClock(device)
        self.part_times = PartTimes(self.clock)
        self.example: Batch | None = None
        self._ends: list[Any] = []
        self._num_ended = self._num_samples = self._num_tokens = 0
        self._waited = self._waited_s = 0.0
        self._peak = self._reserved = 0.0
        self._busy: float | None = None
        self._trace = StepTrace(device, steps.trace) if steps.traced(device) else None
        self._hooks = ExitStack()

    @property
    def is_done(self) -> bool:
        """Whether all steps have run."""
        return self._num_ended >= self.steps.total(self.clock.device)

    @property
    def _is_timing(self) -> bool:
        return self.steps.warmup <= self._num_ended < self.steps.warmup + self.steps.timed

    def begin(self, batch: Batch) -> None:
        """Begin a step."""
        if self.example is None:
            self.example = replace(batch, inputs=batch.inputs.to("cpu"))
            self._hooks.callback(self.model.register_forward_hook(self._count_tokens).remove)
        self.part_times.begin()

    def _count_tokens(self, _module: nn.Module, _inputs: Any, output: Output) -> None:
        if self._is_timing:
            num_padded, num_positions = output.num_padded()
            self._num_tokens += num_positions - num_padded

    def end(self, batch: Batch, *, waited_s: float) -> None:
        """End a step. waited_s: for data, since the loader's epoch began."""
        if self._is_timing:
            self._ends.append(self.clock.now())
            self._num_samples += len(batch)
            self._waited_s += waited_s - (self._waited if waited_s >= self._waited else 0.0)
        self.part_times.end()
        self._waited, self._num_ended = waited_s, self._num_ended + 1
        self._begin_next()

    def _begin_next(self) -> None:
        """Change from one kind of step to the next where it is time."""
        timed_from, steps = self.steps.warmup, self.steps
        parts_from = timed_from + steps.timed
        traced_from = parts_from + steps.parts
        if self._num_ended == timed_from:
            self.clock.wait()
            self._reset_peak()
            self._ends = [self.clock.now()]
        if self._num_ended == parts_from:
            self.clock.wait()
            self._read_peak()
            self._hooks.enter_context(self.part_times.of(self.model))
        if self._num_ended == traced_from:
            self.clock.wait()
            self._hooks.close()
            if self._trace is not None:
                self._trace.start()
        elif self.is_done and self._trace is not None:
            self.clock.wait()
            self._busy = self._trace.stop()

    def _reset_peak(self) -> None:
        if self.clock.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.clock.device)

    def _read_peak(self) -> None:
        if self.clock.device.type == "cuda":
            self._peak = float(torch.cuda.max_memory_allocated(self.clock.device))
            self._reserved = float(torch.cuda.max_memory_reserved(self.clock.device))
        else:
            self._peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0

    def close(self) -> None:
        """Take the hooks off, however the steps have ended."""
        self._hooks.close()

    def times(self, batch_size: int) -> StepTimes:
        """Summarise what was timed; at least one step was."""
        step_ms = [self.clock.ms(first, second) for first, second in pairwise(self._ends)]
        seconds = sum(step_ms) / 1000
        return StepTimes(
            batch_size=batch_size,
            num_steps=len(step_ms),
            step_ms=Spread.of(step_ms),
            wait_share=min(1.0, self._waited_s / seconds),
            samples_per_second=self._num_samples / seconds,
            tokens_per_second=self._num_tokens / seconds,
            peak_bytes=self._peak,
            reserved_bytes=self._reserved if self.clock.device.type == "cuda" else None,
            busy_share=self._busy,
            parts=self.part_times.times() if self.steps.parts else [],
        )
