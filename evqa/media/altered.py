"""A video as it would be were it cut short, or were a second, its picture or its sound hidden.

# F frames, S samples at 16 kHz, H, W height and width, C channels
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from evqa.media.audio import AudioWindow
from evqa.media.fbank import sound_fbank
from evqa.media.sampling import SAME_INSTANT, FrameSampling
from evqa.media.spec import ClipSpec, FrameStream
from evqa.types import SAMPLE_RATE_HZ, Clip, FrameChunks

GREY = 127  # of a hidden frame: nearest to the middle of what models are given


@dataclass(frozen=True, kw_only=True)
class OpeningSampling(FrameSampling):
    """The frames that the policy takes of a video that ends after `until` seconds."""

    until: float

    @property
    def horizon_seconds(self) -> float:
        """Nothing behind the end is decoded."""
        own = super().horizon_seconds
        return self.until if own is None else min(own, self.until)

    def choose(self, seconds_N: Sequence[float], *, end_seconds: float, average_fps: float) -> list[int]:
        """Choose frame numbers, as in `FrameSampling`."""
        num_frames = max(bisect_left(seconds_N, self.until - SAME_INSTANT), 1)
        end_seconds = min(end_seconds, self.until)
        return super().choose(seconds_N[:num_frames], end_seconds=end_seconds, average_fps=average_fps)


@dataclass(frozen=True, kw_only=True)
class WholeTrack(AudioWindow):
    """The samples that the policy cuts its window from, read as for that."""

    def cut(self, waveform_S: Tensor) -> Tensor:
        """Leave out only what is not read at all."""
        return waveform_S[: self.num_samples]


def pictures_of_opening(spec: ClipSpec, seconds: float) -> ClipSpec:
    """Ask for the pictures of a video that ends after some seconds; its sound is left to `with_sound_of`."""

    def opening(stream: FrameStream | None) -> FrameStream | None:
        if stream is None:
            return None
        return replace(stream, sampling=OpeningSampling(**asdict(stream.sampling), until=seconds))

    return replace(spec, frames=opening(spec.frames), motion=opening(spec.motion), audio=None, audio_as="waveform")


def track_of(spec: ClipSpec) -> ClipSpec | None:
    """Ask for all samples of the track that the window is cut from; None where no sound is read."""
    if spec.audio is None:
        return None
    track = WholeTrack(**asdict(spec.audio))
    return replace(spec, frames=None, motion=None, image=None, audio=track, audio_as="waveform", reader="packets")


def with_sound_of(clip: Clip, track_S: Tensor | None, spec: ClipSpec) -> Clip:
    """Give a clip the sound that `spec` reads of a track (`track_of`, float32 samples); None and no sample: none."""
    if spec.audio is None or track_S is None or not len(track_S):
        return replace(clip, waveform_S=None, fbank_RM=None)
    waveform_S = spec.audio.cut(track_S)
    if spec.audio_as == "fbank":
        return replace(clip, waveform_S=None, fbank_RM=sound_fbank(waveform_S))
    return replace(clip, waveform_S=waveform_S, fbank_RM=None)


def without_sound_of_second(track_S: Tensor, second: int) -> Tensor:
    """Return a track that is silent from `second` to the next."""
    silenced_S = track_S.clone()
    silenced_S[second * SAMPLE_RATE_HZ : (second + 1) * SAMPLE_RATE_HZ] = 0.0
    return silenced_S


def without_pictures_of_second(clip: Clip, second: int) -> Clip:
    """Return a clip whose frames that come up from `second` to the next are grey, those of its motion too."""
    frames_FHWC = clip.frames_FHWC
    if frames_FHWC is not None and clip.seconds_F is not None:
        frames_FHWC = frames_FHWC.clone()
        frames_FHWC[is_within(clip.seconds_F, second)] = GREY
    motion = None if clip.motion is None else HiddenSecond(clip.motion, second)
    return replace(clip, frames_FHWC=frames_FHWC, motion=motion)


def is_within(seconds_F: Tensor, second: int) -> Tensor:
    """Tell [F] which frames come up from `second` to the next."""
    return (seconds_F >= second - SAME_INSTANT) & (seconds_F < second + 1 - SAME_INSTANT)


class HiddenSecond(FrameChunks):
    """A motion stream whose frames of one second are grey."""

    def __init__(self, motion: FrameChunks, second: int) -> None:
        self._motion = motion
        self.num_frames, self.seconds_N = motion.num_frames, motion.seconds_N
        self.height, self.width = motion.height, motion.width
        self._hidden_N = is_within(motion.seconds_N, second)

    def chunks(self, size: int, *, overlap: int = 0) -> Iterator[Tensor]:
        """Yield uint8 RGB [n, H, W, C], as `FrameChunks` says."""
        begin = 0
        for chunk_NHWC in self._motion.chunks(size, overlap=overlap):
            hidden_N = self._hidden_N[begin : begin + len(chunk_NHWC)]
            yield torch.where(hidden_N[:, None, None, None], chunk_NHWC.new_tensor(GREY), chunk_NHWC)
            begin += len(chunk_NHWC) - overlap

    def close(self) -> None:
        """Leave the stream to the clip that it belongs to."""
