"""What every reader of pictures offers.

# N frames of the video, H, W height and width, C channels
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One native picture, upright.

    number: the frame that was asked for. seconds: when the picture that is really shown comes up; it belongs to an
    earlier frame where the one asked for is damaged. rgb_HWC: uint8.
    """

    number: int
    seconds: float
    rgb_HWC: NDArray[np.uint8]


class FrameReader(Protocol):
    """One opened video.

    start_seconds: when the first frame comes up, in the container's time. seconds_N: sorted display times of all
    frames, counted from that one. end_seconds: when the last one leaves the screen, counted likewise.
    average_fps: as the container states it (0 where it does not). notes: sentences about damage met while reading.
    """

    start_seconds: float
    seconds_N: Sequence[float]
    end_seconds: float
    average_fps: float
    notes: list[str]

    def frames(self, numbers: Sequence[int]) -> Iterator[Shot]:
        """Decode the frames with these numbers (sorted, different), in any order.

        A number may come twice, then the last one counts. Nothing comes where nothing decodes.
        """
        ...


class UnreadableError(Exception):
    """This reader cannot read a file; that does not mean that another one cannot."""


class UnfitVideoError(ValueError):
    """A readable video that a setting cannot be applied to; the message is a sentence about the video."""
