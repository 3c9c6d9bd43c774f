"""What to read from a media file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from evqa.media.audio import AudioWindow
from evqa.media.limits import Limits
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling

_LATER = ("whole_seconds", "stride", "multiple_of", "at_most")  # of a sampling: added after the first release


@dataclass(frozen=True, kw_only=True)
class FrameStream:
    """One stream of frames: which ones, and at what size."""

    sampling: FrameSampling
    resize: Resize = field(default_factory=Resize)

    @classmethod
    def of(cls, sampling: FrameSampling | None, *, resize: Resize) -> FrameStream | None:
        """Join the two; None where no frames are asked for."""
        return None if sampling is None else cls(sampling=sampling, resize=resize)

    def exactly(self) -> FrameStream:
        """Return the same frames, resized bit for bit as the published code does."""
        return replace(self, resize=replace(self.resize, exact=True))


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What to read from a media file. Everything but `limits` changes pixels or samples.

    frames / audio: None reads no picture / no sound.
    audio_as: the sound as samples, or as filter bank (then the Clip carries no samples).
    reader: packets (exact and fast), or decord with packets where decord fails.
    """

    frames: FrameStream | None = None
    audio: AudioWindow | None = None
    audio_as: Literal["waveform", "fbank"] = "waveform"
    reader: Literal["packets", "decord"] = "packets"
    limits: Limits = field(default_factory=Limits)


def described(spec: ClipSpec) -> dict[str, Any]:
    """Return a specification as plain values, as checkpoints, exports and the cache's folders name it.

    The layout is that of the first release, so that a checkpoint or a cached clip of the same reading stays one:
    `frames` is the sampling and `resize` stands beside it (None where no frames are read).
    """
    frames = spec.frames
    return asdict(spec) | {
        "frames": frames and _described_sampling(frames.sampling),
        "resize": frames and asdict(frames.resize),
    }


def _described_sampling(sampling: FrameSampling) -> dict[str, Any]:
    """Leave out what came after the first release and is at its default."""
    values = asdict(sampling)
    defaults = asdict(FrameSampling())
    return {name: value for name, value in values.items() if name not in _LATER or value != defaults[name]}
