"""The frames of a motion stream, too many for memory: on disk without a name, read in chunks.

# N frames of the stream, n of a chunk, H, W height and width, C channels
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from evqa.media.limits import Budget
from evqa.media.resize import bicubic

_OPEN_FILES = Path("/proc/self/fd")  # through which another process opens a file that has no name


class Spool:
    """A file that the system frees when nobody has it open, however its processes end.

    place: where another process opens it while this one lives.
    """

    def __init__(self, descriptor: int, name: str = "") -> None:
        self.descriptor, self._name = descriptor, name
        self.close = weakref.finalize(self, os.close, descriptor)
        self.place = name
        if _OPEN_FILES.exists():
            self.place = f"/proc/{os.getpid()}/fd/{descriptor}"
            self.forget_name()

    @classmethod
    def create(cls, folder: str | None = None) -> Spool:
        """Create a file in `folder`, or among the temporary files where that cannot be written. Raises OSError."""
        try:
            return cls(*tempfile.mkstemp(prefix="evqa-motion-", dir=folder))
        except OSError:
            if folder is None:
                raise
            return cls.create()

    @classmethod
    def opened(cls, place: str) -> Spool:
        """Open the spool of another process. Raises OSError."""
        return cls(os.open(place, os.O_RDWR | os.O_CLOEXEC))

    def forget_name(self) -> None:
        """Unlink it; without /proc that can only be done once the other process has opened it."""
        if self._name:
            Path(self._name).unlink()
            self._name = ""


class SpooledFrames:
    """The frames of a motion stream in order. It belongs to the process that read it; threads may share it.

    num_frames, height, width: of the stream. seconds_N: float64 display times. first: its first frame in the file.
    """

    def __init__(self, spool: Spool, *, seconds_N: Tensor, height: int, width: int, first: int = 0) -> None:
        self._spool, self._first = spool, first
        self.seconds_N, self.height, self.width = seconds_N, height, width
        self.num_frames = len(seconds_N)

    def chunks(self, size: int, *, overlap: int = 0) -> Iterator[Tensor]:
        """Yield uint8 frames [n, H, W, C], `size` at a time (the last chunk may have fewer), as often as called.

        overlap: frames that a chunk has in common with the one before. Raises ValueError where that is not less than
        the size, and where the stream has been closed.
        """
        if not 0 <= overlap < size:
            raise ValueError(f"chunks of {size} frames cannot overlap by {overlap}; the overlap must be smaller")
        for start in range(0, max(self.num_frames - overlap, 1), size - overlap):
            yield self._read(start, min(start + size, self.num_frames))

    def part(self, begin: int, end: int) -> SpooledFrames:
        """Return the frames from one number up to another as a stream of the same file, whose times count from 0."""
        seconds_N = self.seconds_N[begin:end] - self.seconds_N[begin]
        return SpooledFrames(
            self._spool, seconds_N=seconds_N, height=self.height, width=self.width, first=self._first + begin
        )

    def close(self) -> None:
        """Free the file; it is freed as well when this object and its parts are no longer used."""
        self._spool.close()

    def _read(self, start: int, end: int) -> Tensor:
        if not self._spool.close.alive:
            raise ValueError("this motion stream has been closed; read the clip again")
        chunk = np.empty((end - start, self.height, self.width, 3), dtype=np.uint8)
        left, at = chunk.reshape(-1).data, (self._first + start) * self.height * self.width * 3
        while left.nbytes:
            count = os.preadv(self._spool.descriptor, [left], at)
            if not count:
                raise OSError(f"a motion stream's file ends at byte {at}, before frame {end}")
            left, at = left[count:], at + count
        return torch.from_numpy(chunk)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a motion stream stays in the process that read it; send what was computed of it instead")


class FrameWriter:
    """Writes frames to a spool as they come: one is held at a time.

    numbers: of the video, in the stream's order; `add` accepts them in any order and repeatedly, the last one counts.
    """

    def __init__(self, spool: Spool, numbers: Sequence[int], budget: Budget) -> None:
        self._spool, self._budget, self._num_frames = spool, budget, len(numbers)
        self._places = defaultdict[int, list[int]](list)
        for place, number in enumerate(numbers):
            self._places[number].append(place)
        self.numbers = frozenset(numbers)
        self._size_hw = (0, 0)
        self._seconds: dict[int, float] = {}

    @property
    def has_any(self) -> bool:
        """Whether a frame has come."""
        return bool(self._seconds)

    def add(self, number: int, frame_HWC: Tensor, *, seconds: float) -> None:
        """Write a resized frame to its places; all get the size of the first one that came.

        Raises:
            MediaError: the disk is full, or fails.
        """
        if not self.has_any:
            self._size_hw = (frame_HWC.shape[0], frame_HWC.shape[1])
        pixels = bicubic(frame_HWC, self._size_hw).numpy().reshape(-1).data
        try:
            for place in self._places[number]:
                self._seconds[place] = seconds
                self._write(pixels, place * pixels.nbytes)
        except OSError as error:
            self._budget.blame(
                f"has a motion stream of {self._num_frames * pixels.nbytes / 1e6:.0f} MB, which cannot be written to "
                f"disk ({error.strerror}); free space, or name a larger disk by data.cache.folder or TMPDIR",
                error,
            )

    def _write(self, pixels: memoryview, at: int) -> None:
        while pixels.nbytes:
            count = os.pwrite(self._spool.descriptor, pixels, at)
            pixels, at = pixels[count:], at + count

    def finish(self) -> SpooledFrames:
        """Return the stream, once all frames have come."""
        seconds = [self._seconds[place] for place in range(self._num_frames)]
        height, width = self._size_hw
        return SpooledFrames(
            self._spool, seconds_N=torch.tensor(seconds, dtype=torch.float64), height=height, width=width
        )
