"""Which part of the audio is read.

# S samples at 16 kHz
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import torch
from torch import Tensor

from evqa.errors import ConfigError
from evqa.types import SAMPLE_RATE_HZ

_NUM_CLIPS = 8
_CLIP_SECONDS = Fraction(2)


@dataclass(frozen=True, kw_only=True)
class AudioWindow:
    """Which part of the audio is read.

    policy:
        whole: the whole track.
        first_n_seconds: the first `seconds` of the track (what the frames of the same name cover).
        clips_8x2: LMM-EVQA's eight clips of two seconds spread over the whole track, joined to at most 16 s. Tracks
            shorter than 18 s are read in overlapping pieces, and the last eighth of the rest is never read.
    None of them pads: padding is the model's business.
    """

    policy: Literal["whole", "first_n_seconds", "clips_8x2"] = "first_n_seconds"
    seconds: Annotated[float, "0 < seconds"] = 8.0

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ConfigError([f"audio.seconds is {self.seconds}; it must be greater than 0."])

    @property
    def horizon_seconds(self) -> float | None:
        """Nothing later than this is read; None where the whole track counts."""
        return self.seconds if self.policy == "first_n_seconds" else None

    @property
    def num_samples(self) -> int | None:
        """Samples after which decoding may stop; None where the whole track counts."""
        return None if self.horizon_seconds is None else round(self.horizon_seconds * SAMPLE_RATE_HZ)

    @property
    def keeps_times(self) -> bool:
        """Whether a hole in the track is read as silence; the published code lets what follows move up."""
        return self.policy != "clips_8x2"

    @property
    def shortest_seconds(self) -> float | None:
        """A track shorter than this lacks something that is asked for."""
        return float(_CLIP_SECONDS) if self.policy == "clips_8x2" else self.horizon_seconds

    def cut(self, waveform_S: Tensor) -> Tensor:
        """Cut the window out of a track's samples (16 kHz, any dtype)."""
        if self.policy == "clips_8x2":
            return torch.cat([waveform_S[start:end] for start, end in clip_ranges(waveform_S.shape[-1])])
        return waveform_S[: self.num_samples]


def clip_ranges(num_samples: int) -> list[tuple[int, int]]:
    """Sample ranges of the eight two-second clips; they may end behind the track (slicing cuts them).

    LMM-EVQA uses pytorchvideo 0.1.5's `ConstantClipsPerVideoSampler`, which divides by eight (not seven), so that the
    last clip never reaches the end. Its arithmetic, a float duration turned into exact fractions, is kept, because
    one sample more or less at a clip's start is visible in the published scores.
    """
    duration_seconds = num_samples / SAMPLE_RATE_HZ
    step = Fraction(max(duration_seconds - _CLIP_SECONDS, 0)) / _NUM_CLIPS
    starts = [step * k for k in range(_NUM_CLIPS)]
    return [(int(start * SAMPLE_RATE_HZ), int((start + _CLIP_SECONDS) * SAMPLE_RATE_HZ)) for start in starts]
