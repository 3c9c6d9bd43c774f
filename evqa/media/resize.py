"""Resizing of uint8 frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Resize:
    """How a frame is brought to the size that a model wants.

    mode: square (squashed to size x size), pad (letter-boxed with grey 127 to a square, then size x size), budget
        (Qwen's rule: sides are multiples of `multiple`, area between min_pixels and max_pixels), native (unchanged).
    exact: square and pad as two-pass Pillow (width first), bit for bit the original's pixels.
    """

    mode: Literal["square", "pad", "budget", "native"] = "square"
    size: int = 384
    min_pixels: int = 128 * 28 * 28
    max_pixels: int = 768 * 28 * 28
    multiple: int = 28
    exact: bool = False
