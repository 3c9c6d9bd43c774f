"""What the benchmark finds; written as it stands with --json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evqa.benchmarking.identity import Identity
from evqa.benchmarking.measure import Spread
from evqa.benchmarking.workers import Kind
from evqa.media.clip import ClipSpec


@dataclass(frozen=True, kw_only=True)
class ReadingCost:
    """One way of reading: CPU and wall-clock milliseconds a clip, the reference's CPU time over ours, bytes stored."""

    name: str
    cpu_ms: Spread
    wall_ms: Spread
    ratio: Spread | None
    bytes_per_clip: float | None
    stages: dict[str, Spread]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Clips a second with one worker and with more. speedup: by the speed that a free machine would give."""

    name: str
    kind: Kind
    workers: int
    one: Spread
    many: Spread
    speedup: Spread
    speedup_wall: Spread


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Everything that was measured."""

    machine: dict[str, Any]
    num_clips: int
    rounds: int
    spec: ClipSpec
    ffmpeg: bool
    rows: list[ReadingCost]
    scaling: list[Scaling]
    identity: Identity | None


@dataclass(frozen=True, kw_only=True)
class MotionWork:
    """One way to a clip's motion features: milliseconds of wall-clock time, and operations in convolutions."""

    ms: Spread
    flops: float


@dataclass(frozen=True, kw_only=True)
class MotionCost:
    """Motion features of the first `num_frames` of a clip's `clip_frames`: ours, and as VQA²'s original computes them.

    ratio: of the original's time to ours, round by round.
    """

    num_frames: int
    clip_frames: int
    ours: MotionWork
    original: MotionWork
    ratio: Spread

    @property
    def flops_ratio(self) -> float:
        """The original's operations over ours."""
        return self.original.flops / self.ours.flops


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a step (one batch) costs.

    step_ms: from the end of one step to the end of the next, so it contains the wait for data. wait_share: of that
    time, 0-1. tokens_per_second: real positions, no padding. peak_bytes: of the GPU, else of this process.
    flops_per_sample: matrix products, backward and recomputation included, as PyTorch counts them. utilisation: of the
    device's peak; None where that is not known. motion: of the first clip; None where the model has no motion branch.
    """

    what: str
    device: str
    batch_size: int
    workers: int
    num_steps: int
    step_ms: Spread
    wait_share: float
    samples_per_second: float
    tokens_per_second: float
    peak_bytes: float
    flops_per_sample: float
    utilisation: float | None
    motion: MotionCost | None = None
