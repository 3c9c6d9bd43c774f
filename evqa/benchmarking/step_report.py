"""What `benchmark train`, `score` and `gpu` find of steps; written as it stands with --json."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evqa.benchmarking.measure import Spread
from evqa.benchmarking.reports import MotionCost


@dataclass(frozen=True, kw_only=True)
class PartTime:
    """Milliseconds a step in one part of a model.

    phase: forward, backward (what is computed again included), or empty outside of both (optimizer, between steps).
    """

    phase: str
    part: str
    ms: float


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Floating-point operations a sample in matrix products, convolutions and attention, as `benchmark count` has them.

    model: forward and backward once; done: with what is computed again.
    """

    model: float
    done: float


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """What was measured of the steps of one batch size.

    step_ms: from the end of one step to the end of the next. wait_share: of that time, 0-1, in which the program waited
    for data; a GPU may have computed meanwhile. tokens_per_second: real positions, no padding. peak_bytes: of the GPU
    since the warm-up, else of this process since it began. reserved_bytes: what PyTorch took of the GPU for it.
    busy_share: of the time in which a GPU's kernels ran, 0-1. parts: of steps behind those that are timed.
    """

    batch_size: int
    num_steps: int
    step_ms: Spread
    wait_share: float
    samples_per_second: float
    tokens_per_second: float
    peak_bytes: float
    reserved_bytes: float | None
    busy_share: float | None
    parts: list[PartTime] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """A batch size, what was measured, and its arithmetic; the latter None where it cannot be counted.

    mfu, hfu: model and hardware FLOP utilisation, shares of the card's peak; None where either is not known.
    """

    times: StepTimes
    arithmetic: Arithmetic | None
    mfu: float | None
    hfu: float | None

    @classmethod
    def of(cls, times: StepTimes, arithmetic: Arithmetic | None, *, peak_flops: float | None) -> StepRow:
        """Relate what was measured to what the card can do."""
        mfu = hfu = None
        if arithmetic is not None and peak_flops is not None:
            mfu = arithmetic.model * times.samples_per_second / peak_flops
            hfu = arithmetic.done * times.samples_per_second / peak_flops
        return cls(times=times, arithmetic=arithmetic, mfu=mfu, hfu=hfu)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What steps cost.

    what: train or score. machine: where and with what (`about_machine`). card: its clocks, power and temperature while
    it was measured; empty where they are not known. rows: one a batch size. notes: what is missing, and why. motion: of
    the first clip; None where the model has no motion branch.
    """

    what: str
    machine: dict[str, Any]
    card: dict[str, Spread]
    workers: int
    rows: list[StepRow]
    notes: list[str]
    motion: MotionCost | None = None
