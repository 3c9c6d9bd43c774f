"""Which frames of a video are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Which frames of a video are looked at.

    policy: first_n_seconds (spread over the first `seconds`), uniform (middles of `count` equal parts of the whole
        clip), fps (one every 1/`fps` seconds from the start), fps_first_half (LMM-EVQA's rule for Qwen2.5-VL).
    exact: the originals' arithmetic on frame numbers and average frame rate instead of time stamps.
    """

    policy: Literal["first_n_seconds", "uniform", "fps", "fps_first_half"] = "first_n_seconds"
    count: int = 8
    seconds: float = 8.0
    fps: float = 1.0
    exact: bool = False
