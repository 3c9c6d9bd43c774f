"""Whether we read what the published code reads: frame numbers, pixels, sound.

# F frames, C channels, H, W height and width, R rows, M mel bins
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from evqa.benchmarking.measure import StageClock
from evqa.benchmarking.reference import ReferenceSample, read_reference
from evqa.benchmarking.stages import read_in_stages
from evqa.media.clip import ClipSpec, read_clip


@dataclass(frozen=True, kw_only=True)
class TensorDifference:
    """Of grey levels (0-255) after resizing, or of log-mel values: mean and largest, and the share that is equal."""

    mean: float
    largest: float
    equal: float

    @classmethod
    def of(cls, ours: Tensor, theirs: Tensor) -> TensorDifference:
        """Compare two tensors of the same shape."""
        error = (ours.double() - theirs.double()).abs()
        return cls(mean=error.mean().item(), largest=error.max().item(), equal=(error == 0).double().mean().item())


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Differences are means over the clips, the largest one over all.

    num_clips: compared. other_numbers: names of the clips whose frame numbers differ.
    """

    num_clips: int
    other_numbers: list[str]
    pixels: TensorDifference
    pixels_exact: TensorDifference
    fbank: TensorDifference


def compare(paths: Sequence[Path], spec: ClipSpec) -> Identity:
    """Read every clip in the published way and in ours."""
    assert spec.frames is not None
    exact = replace(spec, audio=None, frames=spec.frames.exactly())
    other, pixels, pixels_exact, sounds = [], [], [], []
    for path in paths:
        theirs, ours = read_reference(path, StageClock()), read_in_stages(path, spec, StageClock())
        other += [path.name] if theirs.numbers != ours.numbers else []
        grey = _grey_levels(theirs)
        assert ours.frames_FHWC is not None
        pixels.append(TensorDifference.of(ours.frames_FHWC, grey))
        pixels_exact.append(TensorDifference.of(_frames(path, exact), grey))
        if ours.sound is not None:
            sounds.append(TensorDifference.of(*_same_rows(ours.sound, theirs.fbank_RM)))
    return Identity(
        num_clips=len(paths),
        other_numbers=other,
        pixels=_mean(pixels),
        pixels_exact=_mean(pixels_exact),
        fbank=_mean(sounds),
    )


def _grey_levels(sample: ReferenceSample) -> Tensor:
    return ((sample.pixels_FCHW.permute(0, 2, 3, 1) * 0.5 + 0.5) * 255).round()


def _frames(path: Path, spec: ClipSpec) -> Tensor:
    frames = read_clip(path, spec).frames_FHWC
    assert frames is not None
    return frames


def _same_rows(ours_RM: Tensor, theirs_RM: Tensor) -> tuple[Tensor, Tensor]:
    """Compare the rows that both have, as the model gets them (bfloat16)."""
    rows = min(ours_RM.shape[0], theirs_RM.shape[0])
    return ours_RM[:rows].to(torch.bfloat16), theirs_RM[:rows]


def _mean(parts: Sequence[TensorDifference]) -> TensorDifference:
    if not parts:
        return TensorDifference(mean=float("nan"), largest=float("nan"), equal=float("nan"))
    count = len(parts)
    return TensorDifference(
        mean=sum(part.mean for part in parts) / count,
        largest=max(part.largest for part in parts),
        equal=sum(part.equal for part in parts) / count,
    )
