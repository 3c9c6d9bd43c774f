"""Which frames of a video are read.

# N frames of the video, F frames asked for
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch

from evqa.errors import ConfigError
from evqa.media.reader import UnfitVideoError

SAME_INSTANT = 1e-6  # seconds; time stamps are rounded to the container's ticks
_QWEN_FRAME_FACTOR = 2  # Qwen2.5-VL merges frames in pairs
_QWEN_MIN_FRAMES = 4
_USUAL_FPS = 30
_WHOLE_CLIP = ("uniform", "fps_first_half", "fps_spread", "each_second", "all")


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Which frames of a video are read.

    By default frames are chosen by time: the frame on display at each of `count` instants, counted from the first
    picture, so that a variable frame rate is sampled evenly. There are always exactly `count` of them, in order; a
    video that is too short shows frames repeatedly. With `fps_spread`, `each_second` and `all` their number depends on
    the clip, and `count` plays no part.

    policy:
        first_n_seconds: `count` instants spread over the first `seconds` (over the whole clip where it is shorter).
        uniform: the middles of `count` equal parts of the whole clip.
        fps: one every 1/`fps` seconds from the start; the last frame is repeated where the clip ends too early.
        fps_first_half: LMM-EVQA's rule for Qwen2.5-VL: 4 to 2 * `count` instants at `fps`, spread from the first to
            the last frame, of which only the first `count` are kept (long videos are read up to their middle).
        fps_spread: Qwen's own rule: an even number of instants at `fps`, 4 or more, spread from the first to the last
            frame.
        each_second: VQA²'s key frames: the frame on display at each whole second from the start to the end.
        all: every frame, or every `stride`-th: VQA²'s motion stream.
    whole_seconds: `each_second` leaves out the frame of a last second that is not complete.
    stride: `all` takes each frame whose number is a multiple of it.
    multiple_of: `all` leaves out frames at the end until their number is a multiple of it (VQA²: 4).
    at_most: a clip with more frames to give to `fps_spread`, `each_second` or `all` is refused; it is never cut in
        silence. The default is the length of VQA²'s table of positions.
    exact: the published code's arithmetic on frame numbers and average frame rate (LMM-EVQA, commit b3434ee; VQA²,
        commit 4a311a1), with its consequences: variable frame rates are sampled unevenly, `fps` takes the middles of
        one-second parts, `fps` and `fps_first_half` may give fewer than `count` frames, `fps_spread` fewer than 4,
        `each_second` counts seconds of a rounded frame rate, `all` leaves out the frames of a last stride that is not
        complete.
    """

    policy: Literal["first_n_seconds", "uniform", "fps", "fps_first_half", "fps_spread", "each_second", "all"] = (
        "first_n_seconds"
    )
    count: Annotated[int, "1 <= count <= 100000"] = 8
    seconds: Annotated[float, "0 < seconds"] = 8.0
    fps: Annotated[float, "0 < fps"] = 1.0
    exact: bool = False
    whole_seconds: bool = False
    stride: Annotated[int, "1 <= stride"] = 1
    multiple_of: Annotated[int, "1 <= multiple_of"] = 1
    at_most: Annotated[int, "1 <= at_most"] = 2000

    def __post_init__(self) -> None:
        names = ("count", "seconds", "fps", "stride", "multiple_of", "at_most")
        given = {name: getattr(self, name) for name in names}
        problems = [
            f"frames.{key} is {value}; it must be greater than 0." for key, value in given.items() if value <= 0
        ]
        if problems:
            raise ConfigError(problems)

    @property
    def horizon_seconds(self) -> float | None:
        """Nothing later than this can be chosen; None where the whole clip counts."""
        if self.exact or self.policy in _WHOLE_CLIP:
            return None
        return self.seconds if self.policy == "first_n_seconds" else self.count / self.fps

    @property
    def usual_count(self) -> int:
        """Number of frames; where it depends on the clip, that of one which lasts `seconds` at 30 frames a second."""
        if self.policy == "each_second":
            return math.floor(self.seconds) if self.whole_seconds else math.ceil(self.seconds)
        if self.policy == "fps_spread":
            return _num_spread(self, self.seconds)
        if self.policy == "all":
            return len(every_frame(self, math.ceil(self.seconds * _USUAL_FPS)))
        return self.count

    def choose(self, seconds_N: Sequence[float], *, end_seconds: float, average_fps: float) -> list[int]:
        """Choose frame numbers (0 is the first picture).

        Args:
            seconds_N: sorted display times, the first one 0.
            end_seconds: when the last of these frames leaves the screen.
            average_fps: frame rate as the container states it, used only by `exact`.

        Raises:
            UnfitVideoError: `exact` meets a video for which the published code stops with an error; a video has more
                frames than `at_most`, or fewer than `multiple_of`.
        """
        numbers = self._numbers(seconds_N, end_seconds=end_seconds, average_fps=average_fps)
        depends_on_clip = self.policy in ("fps_spread", "each_second", "all")
        return self._checked(numbers, num_frames=len(seconds_N)) if depends_on_clip else numbers

    def _numbers(self, seconds_N: Sequence[float], *, end_seconds: float, average_fps: float) -> list[int]:
        if self.policy == "all":
            return every_frame(self, len(seconds_N))
        if self.exact:
            return exact_numbers(self, len(seconds_N), average_fps)
        if self.policy == "each_second":
            return second_by_second(seconds_N, end_seconds=end_seconds, whole=self.whole_seconds)
        instants = _instants(self, seconds_N[-1], end_seconds)
        return [max(bisect_right(seconds_N, instant + SAME_INSTANT) - 1, 0) for instant in instants]

    def _checked(self, numbers: list[int], *, num_frames: int) -> list[int]:
        """Refuse too many frames, and none."""
        if len(numbers) > self.at_most:
            how = "raise its stride or at_most" if self.policy == "all" else "raise its at_most"
            raise UnfitVideoError(
                f"has {len(numbers)} frames to take (policy {self.policy} of {num_frames}), more than the "
                f"{self.at_most} allowed; {how}, or cut the video"
            )
        if not numbers and self.policy == "all":
            raise UnfitVideoError(
                f"has too few frames ({num_frames}) for policy all with stride {self.stride} and multiple_of "
                f"{self.multiple_of}, which can take none; lower them, or give a longer video"
            )
        if not numbers:
            raise UnfitVideoError(
                "is shorter than a second, so that policy each_second has no whole second to take; "
                "use whole_seconds=false"
            )
        return numbers


def second_by_second(seconds_N: Sequence[float], *, end_seconds: float, whole: bool) -> list[int]:
    """Return the frames on display at 0 s, 1 s, 2 s, ... before the end; one that stays comes repeatedly."""
    num_seconds = math.floor(end_seconds + SAME_INSTANT) if whole else max(math.ceil(end_seconds - SAME_INSTANT), 1)
    return [max(bisect_right(seconds_N, second + SAME_INSTANT) - 1, 0) for second in range(num_seconds)]


def every_frame(sampling: FrameSampling, num_frames: int) -> list[int]:
    """Return all frame numbers by stride, cut at the end to a multiple; VQA²'s first scorer takes whole strides."""
    usable = num_frames // sampling.stride * sampling.stride if sampling.exact else num_frames
    numbers = list(range(0, usable, sampling.stride))
    return numbers[: len(numbers) // sampling.multiple_of * sampling.multiple_of]


def _instants(sampling: FrameSampling, last_seconds: float, end_seconds: float) -> list[float]:
    steps = range(sampling.count)
    if sampling.policy == "fps_spread":
        num_spread = _num_spread(sampling, end_seconds)
        return [i / (num_spread - 1) * last_seconds for i in range(num_spread)]
    if sampling.policy == "uniform":
        return [(i + 0.5) * end_seconds / sampling.count for i in steps]
    if sampling.policy == "first_n_seconds":
        return [i * min(sampling.seconds, end_seconds) / sampling.count for i in steps]
    if sampling.policy == "fps":
        return [i / sampling.fps for i in steps]
    spread = min(_num_spread(sampling, end_seconds), 2 * sampling.count)
    return [min(i / max(spread - 1, 1), 1.0) * last_seconds for i in steps]


def exact_numbers(sampling: FrameSampling, num_frames: int, average_fps: float) -> list[int]:
    """Frame numbers by the published code's own arithmetic.

    Sources: LMM-EVQA `mm_utils.frame_sample` (uniform, first_n_seconds, fps) and its modified Qwen
    `vision_process.smart_nframes` (fps_first_half); VQA² `model_score_UGC.py` (each_second, whose double loop amounts
    to this), `model_conv.py` (with whole_seconds), and its `vision_process.smart_nframes` for Qwen2.5-VL (fps_spread).

    Raises:
        UnfitVideoError: the published code has no answer for this video.
    """
    if sampling.policy == "uniform":
        part = (num_frames - 1) / sampling.count
        return [_middle(part * i, part * (i + 1)) for i in range(sampling.count)]
    if sampling.policy == "first_n_seconds":
        if num_frames < sampling.seconds * average_fps:
            return [int(n) for n in np.linspace(0, num_frames - 1, sampling.count, dtype=int)]
        step_seconds = sampling.seconds / sampling.count
        return [int(i * step_seconds * average_fps) for i in range(sampling.count)]
    if sampling.policy == "each_second":
        step = round(average_fps)  # half to even, as published
        if step < 1:
            raise UnfitVideoError(
                f"has {average_fps:g} frames a second, which exact sampling of each second cannot use; use exact=false"
            )
        return list(range(0, num_frames // step * step if sampling.whole_seconds else num_frames, step))
    if sampling.policy == "fps":
        return _middles_of_parts(num_frames, average_fps, sampling)
    return _qwen_numbers(num_frames, average_fps, sampling)


def _middle(start: float, end: float) -> int:
    # the published rounding: half to even after a nudge upwards
    return int(np.round((start + end) / 2 + 1e-6))


def _middles_of_parts(num_frames: int, average_fps: float, sampling: FrameSampling) -> list[int]:
    part = min(average_fps // sampling.fps, num_frames)
    if part <= 0:
        raise UnfitVideoError(
            f"has {average_fps:g} frames a second, which exact sampling at {sampling.fps:g} a second cannot divide; "
            "use frames.exact=false"
        )
    return [int(n) for n in np.arange(part // 2, num_frames, part, dtype=int)][: sampling.count]


def _qwen_numbers(num_frames: int, average_fps: float, sampling: FrameSampling) -> list[int]:
    if average_fps <= 0 or num_frames < _QWEN_FRAME_FACTOR:
        raise UnfitVideoError(
            f"has {num_frames} frames at {average_fps:g} a second; the exact rule needs two frames and a frame rate; "
            "use frames.exact=false"
        )
    asked = _num_spread(sampling, num_frames / average_fps)
    most = num_frames if sampling.policy == "fps_spread" else min(2 * sampling.count, num_frames)
    spread = min(asked, _to_even(most))
    numbers = torch.linspace(0, num_frames - 1, spread, dtype=torch.float32).round().long()  # float32 as published
    return [int(n) for n in (numbers if sampling.policy == "fps_spread" else numbers[: sampling.count])]


def _num_spread(sampling: FrameSampling, seconds: float) -> int:
    """Even number of frames at `fps` in a clip of this length, 4 or more."""
    return _to_even(max(seconds * sampling.fps, _QWEN_MIN_FRAMES))


def _to_even(number: float) -> int:
    return int(number // _QWEN_FRAME_FACTOR) * _QWEN_FRAME_FACTOR
