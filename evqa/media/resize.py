"""Resizing of uint8 frames in torch; Pillow's own arithmetic as an option.

# H, W height and width, C channels
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from evqa.errors import ConfigError, MissingDependencyError
from evqa.media.reader import UnfitVideoError

PAD_COLOUR = 127  # int(0.5 * 255): the SigLIP processor's mean, as LMM-EVQA pads
_MAX_ASPECT = 200  # Qwen's own limit


@dataclass(frozen=True, kw_only=True)
class Resize:
    """How a frame is brought to the size that a model wants.

    mode:
        square: squashed to `size` x `size`, as LMM-EVQA's recipe does.
        pad: letter-boxed with grey 127 to a square, then `size` x `size`.
        budget: Qwen's `smart_resize`: sides are multiples of `multiple`, the area lies between `min_pixels` and
            `max_pixels`, the aspect ratio is kept as well as that allows.
        native: unchanged.
    exact: LMM-EVQA's pixels, bit for bit. `square` and `pad`: two passes of Pillow's bicubic filter, width first,
        whatever Pillow's version (from 13 on it chooses the order itself). `budget`: torch's filter in float32, then
        rounded, as its Qwen2.5-VL path did. Without it one antialiased bicubic call of torch on integers, as today's
        official video processors do: within 2 grey levels of Pillow and three times as fast; on hard edges up to 26
        levels from the float32 filter, because overshoot is cut off between the passes.
    """

    mode: Literal["square", "pad", "budget", "native"] = "square"
    size: int = 384
    min_pixels: int = 128 * 28 * 28
    max_pixels: int = 768 * 28 * 28
    multiple: int = 28
    exact: bool = False

    def __post_init__(self) -> None:
        problems = []
        if min(self.size, self.multiple, self.min_pixels) < 1:
            problems.append("resize.size, resize.multiple and resize.min_pixels must be at least 1.")
        if self.max_pixels < self.min_pixels:
            problems.append(f"resize.max_pixels is {self.max_pixels}; it must not be below min_pixels.")
        if problems:
            raise ConfigError(problems)

    def target_hw(self, height: int, width: int) -> tuple[int, int]:
        """Size of the resized frame.

        Raises:
            UnfitVideoError: the budget mode meets a frame more than 200 times as long as wide.
        """
        if self.mode == "native":
            return height, width
        if self.mode == "budget":
            return budget_hw(
                height, width, min_pixels=self.min_pixels, max_pixels=self.max_pixels, multiple=self.multiple
            )
        return self.size, self.size

    def apply(self, frame_HWC: Tensor) -> Tensor:
        """Resize one uint8 RGB frame; the result is contiguous."""
        size = self.target_hw(frame_HWC.shape[0], frame_HWC.shape[1])
        if self.mode == "pad":
            frame_HWC = pad_to_square(frame_HWC)
        if self.exact and self.mode == "budget":
            return _rounded_bicubic(frame_HWC, size)
        if self.exact and self.mode != "native":
            return pillow_bicubic(frame_HWC, size)
        return bicubic(frame_HWC, size)


def bicubic(frame_HWC: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """One antialiased bicubic call on uint8; a frame that has the size already is returned as it is."""
    if frame_HWC.shape[:2] == size_hw:
        return frame_HWC.contiguous()
    # torch takes its fast path only if the strides say channels-last, which those of permute(2, 0, 1)[None] do not
    channels_last = frame_HWC[None].permute(0, 3, 1, 2)
    resized = functional.interpolate(channels_last, size_hw, mode="bicubic", antialias=True, align_corners=False)
    return resized[0].permute(1, 2, 0).contiguous()


def pad_to_square(frame_HWC: Tensor) -> Tensor:
    """Centre the frame on a grey square; an odd remainder goes to the right or the bottom."""
    height, width, channels = frame_HWC.shape
    side = max(height, width)
    canvas = frame_HWC.new_full((side, side, channels), PAD_COLOUR)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = frame_HWC
    return canvas


def budget_hw(height: int, width: int, *, min_pixels: int, max_pixels: int, multiple: int) -> tuple[int, int]:
    """Qwen's `smart_resize` (qwen-vl-utils `vision_process.py`).

    Raises:
        UnfitVideoError: the frame is more than 200 times as long as wide.
    """
    if max(height, width) / min(height, width) > _MAX_ASPECT:
        raise UnfitVideoError(
            f"has frames of {width}x{height}; a frame may be at most {_MAX_ASPECT} times as long as wide here"
        )
    new_height = max(multiple, round(height / multiple) * multiple)
    new_width = max(multiple, round(width / multiple) * multiple)
    if new_height * new_width > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        new_height = max(multiple, math.floor(height / shrink / multiple) * multiple)
        new_width = max(multiple, math.floor(width / shrink / multiple) * multiple)
    elif new_height * new_width < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        new_height = math.ceil(height * grow / multiple) * multiple
        new_width = math.ceil(width * grow / multiple) * multiple
    return new_height, new_width


def _rounded_bicubic(frame_HWC: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Filter in float32 and round, as torchvision's older functional interface does."""
    channels_last = frame_HWC.permute(2, 0, 1)[None].float()
    resized = functional.interpolate(channels_last, size_hw, mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 255).round().to(torch.uint8)[0].permute(1, 2, 0).contiguous()


def pillow_bicubic(frame_HWC: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Two passes of Pillow's bicubic filter, width first."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("resize.exact=true needs Pillow: pip install pillow") from error
    image = Image.fromarray(frame_HWC.numpy())
    height, width = size_hw
    narrow = image.resize((width, image.height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(narrow.resize((width, height), Image.Resampling.BICUBIC)))
