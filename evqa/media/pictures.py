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
from evqa.media.spec import ClipSpec
from evqa.media.spool import FrameWriter, Spool, SpooledFrames

_NOTICEABLE_SECONDS = 0.1  # a shorter lack is not worth a sentence


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Resized frames with their display times, counted from the first picture of the video.

    frames_FHWC: uint8. seconds_F: float64. Both None where only motion was asked for, and motion where none was.
    start_seconds: the video's first picture in the container's time. end_seconds, num_frames: of what was demuxed.
    notes: sentences about what was asked for and is not there.
    """

    frames_FHWC: Tensor | None
    seconds_F: Tensor | None
    motion: SpooledFrames | None
    start_seconds: float
    end_seconds: float
    num_frames: int
    notes: tuple[str, ...]


def take_pictures(reader: FrameReader, spec: ClipSpec, budget: Budget, *, spool: Spool | None = None) -> Pictures:
    """Choose, decode and resize for all streams in one pass; every frame is resized as it comes.

    One native frame is held at a time, and the frames of the motion stream go to `spool`.

    Raises:
        MediaError: no picture decodes, the sampling or resizing cannot work for this video, or the disk is full.
    """
    if not reader.seconds_N:
        budget.refuse("has a video track without a single picture; it is cut off or damaged")
    try:
        numbers = [] if spec.frames is None else _choose(reader, spec.frames.sampling)
        writer = _writer(reader, spec, budget, spool)
        shots = _take(reader, spec, numbers, writer)
    except UnfitVideoError as error:
        budget.refuse(str(error))
    if (numbers and not shots) or (writer and writer.numbers and not writer.has_any):
        budget.refuse("has a video track of which no picture can be decoded; it is damaged")
    frames = [shots[number][0] for number in numbers]
    seconds = [shots[number][1] for number in numbers]
    return Pictures(
        frames_FHWC=torch.stack(_same_size(frames)) if numbers else None,
        seconds_F=torch.tensor(seconds, dtype=torch.float64) if numbers else None,
        motion=None if writer is None else writer.finish(),
        start_seconds=reader.start_seconds,
        end_seconds=reader.end_seconds,
        num_frames=len(reader.seconds_N),
        notes=(*reader.notes, *([] if spec.frames is None else _shortage(reader, spec.frames.sampling, numbers))),
    )


def _writer(reader: FrameReader, spec: ClipSpec, budget: Budget, spool: Spool | None) -> FrameWriter | None:
    if spec.motion is None:
        return None
    assert spool is not None
    return FrameWriter(spool, _choose(reader, spec.motion.sampling), budget)


def _take(
    reader: FrameReader, spec: ClipSpec, numbers: Sequence[int], writer: FrameWriter | None
) -> dict[int, tuple[Tensor, float]]:
    """Return the frames with these numbers and hand those of the motion stream on."""
    shots: dict[int, tuple[Tensor, float]] = {}
    keys = set(numbers)
    for shot in reader.frames(sorted(keys.union(writer.numbers if writer else ()))):
        if spec.frames is not None and shot.number in keys:
            shots[shot.number] = _resized(shot, spec.frames.resize)
        if writer is not None and spec.motion is not None and shot.number in writer.numbers:
            is_same = shot.number in keys and spec.frames is not None and spec.frames.resize == spec.motion.resize
            frame_HWC, seconds = shots[shot.number] if is_same else _resized(shot, spec.motion.resize)
            writer.add(shot.number, frame_HWC, seconds=seconds)
    return shots


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
