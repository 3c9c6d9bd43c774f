"""What the benchmark finds; written as it stands with --json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evqa.benchmarking.measure import Spread

if TYPE_CHECKING:  # they decode, which counting and training steps do without
    from evqa.benchmarking.identity import Identity
    from evqa.benchmarking.workers import Kind
    from evqa.media.spec import ClipSpec


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
class CountedPart:
    """Work of one pass through one part of a model, a batch.

    phase: forward, backward, again (computed again in the backward pass) or optimizer. matrix_bytes: of the kernels
    with matrix arithmetic, other_bytes: of all others. seconds: by the roofline.
    """

    phase: str
    part: str
    flops: float
    matrix_bytes: float
    other_bytes: float
    kernels: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CountedMemory:
    """Bytes at a training's peak, from its second step on. activations: all that is neither of the others."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def peak(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True, kw_only=True)
class CountReport:
    """What one step of a recipe computes, moves and holds, counted without a GPU, and what it would take.

    parts: in order; the optimizer's is of one optimizer step. accumulate: batches of one. waits: calls that send values
    to the device and wait for it, by name. flops_share, bandwidth_share: of the card's peaks, assumed. seconds: of one
    batch, with its share of the optimizer step. notes: what was assumed of the data. scores: whether the step scores a
    batch; else it trains.
    """

    card: str
    precision: str
    batch_size: int
    accumulate: int
    num_positions: int
    parts: list[CountedPart]
    waits: dict[str, int]
    memory: CountedMemory
    card_memory: float
    flops_share: float
    bandwidth_share: float
    peak_flops: float
    seconds: float
    notes: list[str]
    scores: bool = False

    @property
    def samples_per_second(self) -> float:
        """Predicted, of one card."""
        return self.batch_size / self.seconds

    @property
    def flops_per_sample(self) -> float:
        """The model's arithmetic, without what is computed again."""
        return sum(part.flops for part in self.parts if part.phase != "again") / self.batch_size

    @property
    def all_flops_per_sample(self) -> float:
        """All arithmetic, what is computed again included."""
        return sum(part.flops for part in self.parts) / self.batch_size

    @property
    def mfu(self) -> float:
        """Model FLOP utilisation: the model's arithmetic over what the card could do in this time."""
        return self.flops_per_sample * self.samples_per_second / self.peak_flops

    @property
    def hfu(self) -> float:
        """Hardware FLOP utilisation: the same of all arithmetic."""
        return self.all_flops_per_sample * self.samples_per_second / self.peak_flops

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values, and what follows from it."""
        names = ("samples_per_second", "flops_per_sample", "all_flops_per_sample", "mfu", "hfu")
        return asdict(self) | {name: getattr(self, name) for name in names} | {"peak_bytes": self.memory.peak}
