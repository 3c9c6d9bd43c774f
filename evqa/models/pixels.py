"""Bytes as the pixel values of SigLIP, which VQA²'s motion branch takes too.

# N images, H height, W width, C channels
"""

from __future__ import annotations

from torch import Tensor


def normalise(frames_NHWC: Tensor) -> Tensor:
    """Turn uint8 frames into float32 pixel values [N, C, H, W] in -1 ... 1."""
    return (frames_NHWC.permute(0, 3, 1, 2).float() / 255.0 - 0.5) / 0.5
