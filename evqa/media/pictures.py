"""The frames that a sampling asks for, resized, from any reader.

# F frames asked for, N frames of the video, H, W height and width, C channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evqa.media.limits import Budget
from evqa.media.reader import FrameReader, Shot, UnfitVideoError
from evqa.media.resize import Resize, bicubic
from evqa.media.sampling import FrameSampling
from evqa.media.spec import FrameStream

_NOTICEABLE_SECONDS = 0.1  # a shorter lack is not worth a sentence


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Resized frames with their display times, counted from the first picture of the video.

    frames_FHWC: uint8. seconds_F: float64. start_seconds: the video's first picture in the container's time.
    notes: sentences about what was asked for and is not there.
    """

    frames_FHWC: Tensor
    seconds_F: Tensor
    start_seconds: float
    notes: tuple[str, ...]


def take_pictures(reader: FrameReader, stream: FrameStream, budget: Budget) -> Pictures:
    """Choose, decode and resize; every frame is resized as it comes, so that one native frame is held at a time.

    Raises:
        MediaError: no picture decodes, or the sampling or resizing cannot work for this video.
    """
    if not reader.seconds_N:
        budget.refuse("has a video track without a single picture; it is cut off or damaged")
    try:
        numbers = _choose(reader, stream.sampling)
        shots = {shot.number: _resized(shot, stream.resize) for shot in reader.frames(sorted(set(numbers)))}
    except UnfitVideoError as error:
        budget.refuse(str(error))
    if not shots:
        budget.refuse("has a video track of which no picture can be decoded; it is damaged")
    frames = _same_size([shots[number][0] for number in numbers])
    seconds = [shots[number][1] for number in numbers]
    return Pictures(
        frames_FHWC=torch.stack(frames),
        seconds_F=torch.tensor(seconds, dtype=torch.float64),
        start_seconds=reader.start_seconds,
        notes=(*reader.notes, *_shortage(reader, stream.sampling, numbers)),
    )


def _choose(reader: FrameReader, sampling: FrameSampling) -> list[int]:
    numbers = sampling.choose(reader.seconds_N, end_seconds=reader.end_seconds, average_fps=reader.average_fps)
    last = len(reader.seconds_N) - 1
    return [min(number, last) for number in numbers]


def _resized(shot: Shot, resize: Resize) -> tuple[Tensor, float]:
    return resize.apply(torch.from_numpy(shot.rgb_HWC)), shot.seconds


def _same_size(frames: Sequence[Tensor]) -> list[Tensor]:
    """Bring frames of a video that changes its size in the middle to the size of the first one."""
    height, width = frames[0].shape[:2]
    return [bicubic(frame, (height, width)) for frame in frames]


def _shortage(reader: FrameReader, sampling: FrameSampling, numbers: Sequence[int]) -> list[str]:
    notes = []
    asked_seconds = sampling.horizon_seconds
    if asked_seconds is not None and reader.end_seconds < asked_seconds - _NOTICEABLE_SECONDS:
        notes.append(f"the video lasts {reader.end_seconds:.1f} s, shorter than the {asked_seconds:g} s asked for")
    num_different = len(set(numbers))
    if num_different < len(numbers):
        notes.append(f"different frames: {num_different} of the {len(numbers)} asked for, the others are repeats")
    return notes
