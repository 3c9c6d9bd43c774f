"""A video cut into seconds of its play time, each read as a video of its own would be.

Some seconds at a time are decoded in one pass, from the keyframe before them on, so that neither memory nor disk grows
with the video's length.

# N frames of the video, F frames asked for
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from evqa.errors import MediaError
from evqa.media.decoding import decode_isolated
from evqa.media.sampling import SAME_INSTANT, FrameSampling, every_frame
from evqa.media.spec import ClipSpec, FrameStream
from evqa.media.spool import SpooledFrames
from evqa.types import Clip

SPAN_SECONDS = 30  # decoded at a time


@dataclass(frozen=True, kw_only=True)
class VideoSecond:
    """The second [number, number + 1) of a video that has `of` seconds; the last one may be shorter.

    clip: its frames, with times that count from its first one; None where `reason` says why it cannot be read. missing:
    what is odd about the file.
    """

    number: int
    of: int
    clip: Clip | None = None
    reason: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SpanSampling(FrameSampling):
    """Frames of the whole seconds from `first` up to `last`: of each what the policy takes of a video of its own.

    A frame belongs to the second in which it comes up (a damaged one to that of the picture shown in its place). Where
    none does, the policy `all` takes none, any other the frame on display.
    """

    first: int = 0
    last: int = SPAN_SECONDS

    def choose(self, seconds_N: Sequence[float], *, end_seconds: float, average_fps: float) -> list[int]:
        """Choose frame numbers, as in `FrameSampling`; there may be none."""
        seconds = range(self.first, min(self.last, num_seconds(end_seconds)))
        return [number for second in seconds for number in self._of(second, seconds_N, end_seconds, average_fps)]

    def _of(self, second: int, seconds_N: Sequence[float], end_seconds: float, average_fps: float) -> list[int]:
        begin, end = (bisect_left(seconds_N, edge - SAME_INSTANT) for edge in (second, second + 1))
        if self.policy == "all" and not every_frame(self, end - begin):
            return []
        begin = min(begin, end - 1)
        own = [seconds - seconds_N[begin] for seconds in seconds_N[begin:end]]
        length = min(second + 1, end_seconds) - second
        return [begin + number for number in super().choose(own, end_seconds=length, average_fps=average_fps)]


def num_seconds(end_seconds: float) -> int:
    """Count the seconds that begin before the end; at least 1."""
    return max(math.ceil(end_seconds - SAME_INSTANT), 1)


def read_seconds(path: Path, spec: ClipSpec) -> Iterator[VideoSecond]:
    """Yield the seconds of a video in order: one key frame of each, the first, and its motion where `spec` reads some.

    Sound is not read. The clips of the last `SPAN_SECONDS` seconds share a file on disk, which the system frees when
    none of them is used any more.

    Raises:
        MediaError: the file cannot be read as a video with frames.
    """
    assert spec.frames is not None
    number, of = 0, 1
    while number < of:
        span = decode_isolated(path, _of_span(spec, spec.frames, first=number))
        if isinstance(span, str):
            raise MediaError(path, span)
        if not span.seconds:
            raise MediaError(path, "is a still image and has no seconds; ask about it as a whole")
        of = num_seconds(span.seconds)
        yield from _cut(span, spec, first=number, of=of)
        number += SPAN_SECONDS


def _of_span(spec: ClipSpec, frames: FrameStream, *, first: int) -> ClipSpec:
    """Ask for the key frames of some seconds, and for their motion."""
    last, motion = first + SPAN_SECONDS, spec.motion
    key = replace(frames, sampling=SpanSampling(policy="each_second", first=first, last=last))
    if motion is not None:
        motion = replace(motion, sampling=SpanSampling(**asdict(motion.sampling), first=first, last=last))
    return replace(spec, frames=key, motion=motion, audio=None, image=None)


def _cut(span: Clip, spec: ClipSpec, *, first: int, of: int) -> Iterator[VideoSecond]:
    assert span.frames_FHWC is not None
    assert span.seconds is not None
    for place, frame_HWC in enumerate(span.frames_FHWC):
        number = first + place
        clip = Clip(
            frames_FHWC=frame_HWC[None],
            seconds_F=torch.zeros(1, dtype=torch.float64),
            motion=_motion_of(span, number),
            seconds=min(number + 1.0, span.seconds) - number,
        )
        reason = "" if spec.motion is None or clip.motion is not None else _too_few(spec.motion.sampling)
        yield VideoSecond(number=number, of=of, clip=None if reason else clip, reason=reason, missing=span.missing)


def _motion_of(span: Clip, number: int) -> SpooledFrames | None:
    """Find the frames of one second in the stream of all; None where it has none."""
    if not isinstance(span.motion, SpooledFrames):
        return None
    edges = torch.tensor([number, number + 1], dtype=torch.float64) - SAME_INSTANT
    begin, end = torch.searchsorted(span.motion.seconds_N, edges).tolist()
    return span.motion.part(begin, end) if begin < end else None


def _too_few(sampling: FrameSampling) -> str:
    return (
        f"too few frames come up in this second for its motion (model.motion: stride {sampling.stride}, multiple_of "
        f"{sampling.multiple_of})"
    )
