"""CPU time, interleaved rounds, medians with their spread, and facts about the machine."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evqa.machine.cores import cpu_name, num_cores


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 3) -> str:
        """Write `median (low-high)` with so many significant digits; of one measurement only itself."""
        if self.low == self.high:
            return number(self.median, digits)
        return f"{number(self.median, digits)} ({number(self.low, digits)}-{number(self.high, digits)})"


def number(value: float, digits: int = 3) -> str:
    """Write a number with significant digits and without an exponent."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def cpu_seconds() -> float:
    """Return CPU time (user and system) of this process, all its threads, and its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass
class StageClock:
    """CPU milliseconds by stage, summed over what was measured."""

    cpu_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the CPU time of the block as `stage`."""
        started = cpu_seconds()
        try:
            yield
        finally:
            self.cpu_ms[stage] = self.cpu_ms.get(stage, 0.0) + 1000 * (cpu_seconds() - started)


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of one variant: means over the clips, milliseconds a clip; stages are CPU time."""

    cpu_ms: float
    wall_ms: float
    stages: dict[str, float]


Variant = Callable[[Path, StageClock], Any]


@dataclass
class _Account:
    cpu_ms: float = 0.0
    wall_ms: float = 0.0
    num_clips: int = 0
    stages: StageClock = field(default_factory=StageClock)

    def charge(self, read: Variant, paths: Sequence[Path]) -> None:
        cpu, wall = cpu_seconds(), time.perf_counter()
        for path in paths:
            read(path, self.stages)
        self.cpu_ms += 1000 * (cpu_seconds() - cpu)
        self.wall_ms += 1000 * (time.perf_counter() - wall)
        self.num_clips += len(paths)

    def mean(self) -> Round:
        stages = {stage: ms / self.num_clips for stage, ms in self.stages.cpu_ms.items()}
        return Round(cpu_ms=self.cpu_ms / self.num_clips, wall_ms=self.wall_ms / self.num_clips, stages=stages)


def interleaved_rounds(
    variants: Mapping[str, Variant], paths: Sequence[Path], *, rounds: int, passes: Mapping[str, int]
) -> Iterator[dict[str, Round]]:
    """Yield rounds after a warm-up; in each, every variant reads every clip in turn, so that a busy spell hits all.

    passes: how often a variant that is too short to be measured clip by clip reads all of them.
    """
    for index in range(rounds + 1):
        accounts = {name: _Account() for name in variants}
        for path in paths:
            for name in variants.keys() - passes.keys():
                accounts[name].charge(variants[name], [path])
        for name, times in passes.items():
            accounts[name].charge(variants[name], list(paths) * times)
        if index:
            yield {name: account.mean() for name, account in accounts.items()}


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """State where and with what something was measured."""
    return {
        "cpu": cpu_name(),
        "cores": num_cores(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version for name in packages if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
