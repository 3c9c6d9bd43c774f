"""Frames as they lie in a record: without a border of one colour, raw or as JPEG pictures.

# F frames, H height, W width, C channels
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evqa.media.store.buffers import lend

WORTH_CUTTING = 0.95  # of the area; a border smaller than the rest is stored, since putting it back takes time

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


class FrameMemory:
    """Memory for the frames of one record: its `pieces` are what the stored bytes are read into.

    A raw picture as wide as the frames is read straight to its place; anything else by way of a second piece of memory.
    """

    def __init__(self, plan: Plan, num_bytes: int) -> None:
        self._plan, shape = plan, plan["shape"]
        self._whole = lend(shape)
        self._is_full = plan["box"][2:] == shape[1:3]
        self._apart = lend([num_bytes]) if "jpeg" in plan or plan["box"][3] < shape[2] else None
        if self._apart is not None:
            self.pieces = [self._apart.array]
        else:
            self.pieces = [self._whole.array] if self._is_full else list(self._picture())

    def restore(self) -> Tensor:
        """Return uint8 frames [F, H, W, 3] once the pieces are filled."""
        if "jpeg" in self._plan:
            assert self._apart is not None
            _decode_jpegs(self._apart.array, self._plan["jpeg"], self._picture())
        if not self._is_full:
            self._fill_rows()
        return self._whole.tensor

    def _picture(self) -> NDArray[np.uint8]:
        """Return the part [F, height, width, 3] of the frames that is inside the box."""
        top, left, height, width = self._plan["box"]
        return self._whole.array[:, top : top + height, left : left + width]

    def _fill_rows(self) -> None:
        """Fill in the border, and a raw picture that is not yet in its place."""
        shape, (top, left, height, width) = self._plan["shape"], self._plan["box"]
        rows_FHX = self._whole.array.reshape(*shape[:2], -1)  # a row as bytes, which copies faster
        middle = rows_FHX[:, top : top + height]
        first, last = 3 * left, 3 * (left + width)
        if self._apart is not None and "jpeg" not in self._plan:
            middle[:, :, first:last] = self._apart.array.reshape(len(middle), height, 3 * width)
        border = np.array(self._plan["colour"] * shape[2], dtype=np.uint8)
        for bar in (rows_FHX[:, :top], rows_FHX[:, top + height :], middle[:, :, :first], middle[:, :, last:]):
            bar[...] = border[: bar.shape[2]]


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


def _jpeg(frame_HWC: NDArray[np.uint8], quality: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame_HWC).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _decode_jpegs(stored: NDArray[np.uint8], sizes: list[int], into_FHWC: NDArray[np.uint8]) -> None:
    from PIL import Image

    at = 0
    for size, target in zip(sizes, into_FHWC, strict=True):
        target[:] = np.asarray(Image.open(io.BytesIO(stored[at : at + size].tobytes())))
        at += size
