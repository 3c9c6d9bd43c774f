"""What to read from a media file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from evqa.media.audio import AudioWindow
from evqa.media.image import Tiling
from evqa.media.limits import Limits
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling

MOTION_TIME_FACTOR = 4  # times `timeout_seconds`, for a clip that is decoded and resized frame by frame
AudioForm = Literal["waveform", "fbank"]
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

    @property
    def has_fixed_size(self) -> bool:
        """Whether number and size of the frames are the same for every video."""
        fixed = ("first_n_seconds", "uniform", "fps")
        return self.sampling.policy in fixed and not self.sampling.exact and self.resize.mode in ("square", "pad")

    def exactly(self) -> FrameStream:
        """Return the same frames, resized bit for bit as the published code does."""
        return replace(self, resize=replace(self.resize, exact=True))


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What to read from a media file. Everything but `limits` changes pixels or samples.

    frames / audio: None reads no picture / no sound. motion: a second stream of frames of the same video, which is not
    held in memory. image: how a still image is cut; None takes it as a video of one frame, at second 0.
    audio_as: the sound as samples, or as filter bank (then the Clip carries no samples).
    reader: packets (exact and fast), or decord with packets where decord fails.
    """

    frames: FrameStream | None = None
    motion: FrameStream | None = None
    audio: AudioWindow | None = None
    image: Tiling | None = None
    audio_as: AudioForm = "waveform"
    reader: Literal["packets", "decord"] = "packets"
    limits: Limits = field(default_factory=Limits)

    @property
    def reads_pictures(self) -> bool:
        """Whether a video's track is needed."""
        return self.frames is not None or self.motion is not None

    @property
    def streams(self) -> tuple[ClipSpec, ...]:
        """What is read, and cached, apart: the pictures, then the sound. What does not matter to one is left out."""
        pictures = replace(self, audio=None, audio_as="waveform")
        sound = replace(self, frames=None, motion=None, image=None, reader="packets")
        asked = [(pictures, self.reads_pictures or self.image is not None), (sound, self.audio is not None)]
        return tuple(stream for stream, is_asked in asked if is_asked) or (self,)

    @property
    def horizon_seconds(self) -> float | None:
        """No frame later than this is asked for; None where the whole video counts."""
        horizons = [stream.sampling.horizon_seconds for stream in (self.frames, self.motion) if stream is not None]
        return None if None in horizons else max(filter(None, horizons), default=None)

    @property
    def patience(self) -> Limits:
        """The limits, with more time where most of a video's frames are decoded and resized."""
        factor = 1 if self.motion is None else MOTION_TIME_FACTOR
        return replace(self.limits, timeout_seconds=factor * self.limits.timeout_seconds)


def described(spec: ClipSpec) -> dict[str, Any]:
    """Return a specification as plain values, as checkpoints, exports and the cache's folders name it.

    The layout is that of the first release, so that a checkpoint or a cached clip of the same reading stays one:
    `frames` is the sampling and `resize` stands beside it (None where no frames are read).
    """
    frames = spec.frames
    values = asdict(spec)
    for name in ("motion", "image"):  # added after the first release, as the fields above
        if values[name] is None:
            del values[name]
    return values | {
        "frames": frames and _described_sampling(frames.sampling),
        "resize": frames and asdict(frames.resize),
    }


def _described_sampling(sampling: FrameSampling) -> dict[str, Any]:
    """Leave out what came after the first release and is at its default."""
    values = asdict(sampling)
    defaults = asdict(FrameSampling())
    return {name: value for name, value in values.items() if name not in _LATER or value != defaults[name]}
