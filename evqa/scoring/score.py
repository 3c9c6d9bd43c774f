"""What a scorer says of one item, and what its numbers mean.

# D width
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evqa.types import Failure, LabelScale

if TYPE_CHECKING:
    from torch import Tensor

    from evqa.scoring.calibration import Calibrated, Calibration


@dataclass(frozen=True, kw_only=True)
class Score:
    """One item's score, or the failure that explains its absence.

    value: in the label's own scale, never clipped; None where there is a failure. outside: the value lies outside the
    declared range. percentile: share (0-100) of the training labels below the value; None where they are not known.
    calibrated: the value brought to the size of the labels, and its prediction interval; None without a calibration.
    label: the item's own, where its table has one. missing: sentences on what the file lacks.
    """

    id: str
    paths: tuple[Path, ...] = ()
    value: float | None = None
    outside: bool = False
    percentile: float | None = None
    calibrated: Calibrated | None = None
    label: float | None = None
    missing: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """One item's pooled hidden state, or the failure that explains its absence.

    vector_D: float32, on the CPU. missing: sentences on what the file lacks.
    """

    id: str
    paths: tuple[Path, ...] = ()
    vector_D: Tensor | None = None
    missing: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says of one item, or the failure that explains its silence.

    text: without the end token. missing: sentences on what the file lacks.
    """

    id: str
    paths: tuple[Path, ...] = ()
    text: str | None = None
    missing: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the scores of one scorer stand for.

    scale: the label and its declared range. training_labels: sorted, in that scale; empty where they are not known.
    calibration: None where there is none; uncalibrated: why the one that is there does not count, else None.
    """

    scale: LabelScale
    training_labels: Sequence[float] = ()
    calibration: Calibration | None = None
    uncalibrated: str | None = None

    def is_outside(self, value: float) -> bool:
        """Whether a value lies outside the label's declared range."""
        return not self.scale.low <= value <= self.scale.high

    def percentile(self, value: float) -> float | None:
        """The value's place among the training labels, ties counted half; None where there are none."""
        if not self.training_labels:
            return None
        below, up_to = bisect_left(self.training_labels, value), bisect_right(self.training_labels, value)
        return 50.0 * (below + up_to) / len(self.training_labels)

    def calibrated(self, value: float) -> Calibrated | None:
        """The value recalibrated, with its prediction interval; None without a calibration."""
        return None if self.calibration is None else self.calibration.of(value)
