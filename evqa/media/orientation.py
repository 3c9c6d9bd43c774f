"""Turning and mirroring pictures as their display matrix says.

# H, W height and width, C channels
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Matrix = tuple[int, ...]  # row by row, 16.16 and 2.30 fixed point
_MATRIX = struct.Struct("=9i")
_FLIPPED, _KEPT = slice(None, None, -1), slice(None)


def upright(frame: VideoFrame, to_rgb: Callable[[VideoFrame], NDArray[Any]]) -> NDArray[np.uint8]:
    """Return a frame's picture, turned and mirrored as the ffmpeg program does (fftools/ffmpeg_filter.c, autorotate).

    Quarter turns and mirror images are exact. A free angle is turned within the picture's size; corners become black.
    """
    matrix = _matrix(frame)
    if matrix is None:
        return to_rgb(frame)
    degrees = _degrees(matrix)
    if degrees % 90:
        return to_rgb(_turned_freely(frame, degrees))
    return np.ascontiguousarray(_turned(to_rgb(frame), degrees // 90, matrix))


def is_on_its_side(frame: VideoFrame) -> bool:
    """Whether height and width change places when the frame is turned upright."""
    matrix = _matrix(frame)
    return matrix is not None and _degrees(matrix) in (90, 270)


def _matrix(frame: VideoFrame) -> Matrix | None:
    try:
        found: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data of a kind that this PyAV has no name for
        return _matrix_of_angle(frame.rotation)
    return None if found is None or len(bytes(found)) < _MATRIX.size else _MATRIX.unpack_from(bytes(found))


def _matrix_of_angle(counterclockwise: int) -> Matrix | None:
    angle, one = math.radians(-counterclockwise), 1 << 16
    cosine, sine = round(one * math.cos(angle)), round(one * math.sin(angle))
    return (cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30) if counterclockwise else None


def _degrees(matrix: Matrix) -> int:
    """Clockwise, 0 to 359, of the first row alone: libavutil's `av_display_rotation_get`, which ignores mirroring."""
    across, down = math.hypot(matrix[0], matrix[3]), math.hypot(matrix[1], matrix[4])
    if not across or not down:
        return 0
    return math.floor(math.degrees(math.atan2(matrix[1] / down, matrix[0] / across)) + 0.5) % 360


def _turned(rgb_HWC: NDArray[np.uint8], quarters: int, matrix: Matrix) -> NDArray[np.uint8]:
    """By the ffmpeg program's choice of filters, in which the matrix' signs tell a mirror image."""
    if quarters == 1:
        return rgb_HWC.transpose(1, 0, 2) if matrix[3] > 0 else np.rot90(rgb_HWC, -1)
    if quarters == 3:
        return np.rot90(rgb_HWC.transpose(1, 0, 2), 2) if matrix[3] < 0 else np.rot90(rgb_HWC)
    mirrors_columns = quarters == 2 and matrix[0] < 0
    return rgb_HWC[_FLIPPED if matrix[4] < 0 else _KEPT, _FLIPPED if mirrors_columns else _KEPT]


def _turned_freely(frame: VideoFrame, degrees: int) -> VideoFrame:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    turn, sink = graph.add("rotate", f"{degrees}*PI/180"), graph.add("buffersink")
    source.link_to(turn)
    turn.link_to(sink)
    graph.configure()
    graph.push(frame)
    turned = graph.pull()
    assert isinstance(turned, VideoFrame)
    return turned
