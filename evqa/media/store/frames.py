"""Frames as they lie in a record: without a border of one colour, raw or as JPEG pictures.

# F frames, H height, W width, C channels
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evqa.media.store.buffers import uint8_buffer

WORTH_CUTTING = 0.95  # of the area; a border smaller than the rest is stored, which reads without a copy

Plan = dict[str, Any]  # JSON: shape, box, colour and, for JPEG, the bytes of each picture


def pack_frames(frames_FHWC: Tensor, *, jpeg_quality: int | None) -> tuple[Plan, Tensor]:
    """Return how to restore the frames and the bytes to store (uint8, one dimension).

    The box outside of which every pixel of every frame has the colour of the first one is all that is kept: letter-box
    bars cost nothing, whoever made them. Raw is lossless; JPEG (4:4:4) is not.
    """
    top, left, height, width = box = _picture_box(frames_FHWC)
    picture = frames_FHWC[:, top : top + height, left : left + width].contiguous()
    plan: Plan = {"shape": list(frames_FHWC.shape), "box": list(box)}
    if frames_FHWC.numel():
        plan["colour"] = frames_FHWC[0, 0, 0].tolist()
    if jpeg_quality is None or not picture.numel():
        return plan, picture.reshape(-1)
    files = [_jpeg(frame, jpeg_quality) for frame in picture.numpy()]
    plan["jpeg"] = [len(file) for file in files]
    return plan, torch.frombuffer(bytearray(b"".join(files)), dtype=torch.uint8)


def unpack_frames(plan: Plan, stored: Tensor) -> Tensor:
    """Restore uint8 frames [F, H, W, 3] from `stored`, which they may share memory with."""
    shape, (top, left, height, width) = plan["shape"], plan["box"]
    whole = [height, width] == shape[1:3]
    if "jpeg" not in plan and whole:
        return stored.view(shape)
    frames = uint8_buffer(int(np.prod(shape))).view(shape)
    middle = frames[:, top : top + height]
    picture = middle[:, :, left : left + width]
    if "jpeg" in plan:
        _decode_jpegs(stored, plan["jpeg"], picture)
    else:
        _copy(picture, stored.view(picture.shape))
    if not whole:
        row = torch.tensor(plan["colour"], dtype=torch.uint8).repeat(shape[2], 1)
        for bar in (frames[:, :top], frames[:, top + height :], middle[:, :, :left], middle[:, :, left + width :]):
            _copy(bar, row[: bar.shape[2]])
    return frames


def _copy(target_FHWC: Tensor, source: Tensor) -> None:
    """Copy rows of pixels as rows of bytes, and by NumPy: together four times as fast."""
    target_FHWC.flatten(2).numpy()[...] = source.flatten(-2).numpy()


def _picture_box(frames_FHWC: Tensor) -> tuple[int, int, int, int]:
    """Find (top, left, height, width) of what is not border."""
    _, height, width, _ = frames_FHWC.shape
    whole = (0, 0, height, width)
    if not frames_FHWC.numel():
        return whole
    differs_HW = (frames_FHWC != frames_FHWC[0, 0, 0]).any(dim=3).any(dim=0)
    rows, columns = (differs_HW.any(dim=dim).nonzero().flatten() for dim in (1, 0))
    if not rows.numel():
        return 0, 0, 0, 0
    top, left = int(rows[0]), int(columns[0])
    box = (top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)
    return whole if box[2] * box[3] > WORTH_CUTTING * height * width else box


def _jpeg(frame_HWC: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame_HWC).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _decode_jpegs(stored: Tensor, sizes: list[int], into_FHWC: Tensor) -> None:
    from PIL import Image

    at, data = 0, stored.numpy()
    for size, target in zip(sizes, into_FHWC.numpy(), strict=True):
        target[:] = np.asarray(Image.open(io.BytesIO(data[at : at + size].tobytes())))
        at += size
