"""Frames through decord, the reader of the published code; kept for comparison.

decord decodes every picture, needs a duration in the container, cannot read AV1, gives up at the first damaged packet
and allocates whatever size a stream asks for. Use the reader `packets` for files that you do not trust.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evqa.errors import MissingDependencyError
from evqa.media.limits import Budget
from evqa.media.reader import Shot, UnreadableError

_STDERR_LOCK = Lock()
_ABSURD_SECONDS = 1e9  # decord hands out FFmpeg's "no time stamp" as an enormous number


class DecordFrames:
    """A `FrameReader` over decord 0.6; one thread, opened for one clip (it survives neither forks nor threads)."""

    def __init__(self, budget: Budget) -> None:
        """Open a video.

        Raises:
            UnreadableError: decord cannot read the file.
        """
        self._budget = budget
        self.notes: list[str] = []
        decord = _quiet_decord()
        self._errors = (decord.DECORDError, RuntimeError, IndexError, StopIteration)
        try:
            with _silent_stderr():
                self._video = decord.VideoReader(str(budget.path.absolute()), ctx=decord.cpu(0), num_threads=1)
            spans = self._video.get_frame_timestamp(range(len(self._video)))
        except self._errors as error:
            raise UnreadableError(str(error)) from error
        self.average_fps = float(self._video.get_avg_fps())
        self.start_seconds, self.seconds_N, self.end_seconds = _display_times(spans, self.average_fps)
        budget.check_seconds(self.end_seconds, what="picture")

    def frames(self, numbers: Sequence[int]) -> Iterator[Shot]:
        """Decode the frames with these numbers, in order.

        Raises:
            UnreadableError: a frame does not decode.
        """
        for number in numbers:
            self._budget.check_time()
            try:
                with _silent_stderr():
                    rgb = self._video[number].asnumpy()
            except self._errors as error:
                raise UnreadableError(str(error)) from error
            if rgb.ndim != 3 or rgb.shape[-1] != 3:  # seen for pictures of one pixel
                raise UnreadableError(f"decord gave an array of shape {rgb.shape}")
            yield Shot(number=number, seconds=self.seconds_N[number], rgb_HWC=rgb)


def _display_times(spans_N2: NDArray[np.float32], fps: float) -> tuple[float, Sequence[float], float]:
    """Start, display times counted from it, and end; at an even rate where decord has no time stamps."""
    start, end = float(spans_N2[0, 0]), float(spans_N2[-1, 1])
    if not (np.diff(spans_N2[:, 0]) >= 0).all() or not abs(start) <= _ABSURD_SECONDS or not end <= _ABSURD_SECONDS:
        return 0.0, [number / (fps or 1.0) for number in range(len(spans_N2))], len(spans_N2) / (fps or 1.0)
    return start, [float(seconds) - start for seconds in spans_N2[:, 0]], end - start


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep decord's C++ log, which has no switch, off the terminal. Other threads are silenced for that time, too."""
    with _STDERR_LOCK, Path(os.devnull).open("w") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _quiet_decord() -> Any:  # decord has no types
    try:
        import decord
    except ImportError as error:
        raise MissingDependencyError("reader=decord needs decord: pip install decord, or use reader=packets") from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord
