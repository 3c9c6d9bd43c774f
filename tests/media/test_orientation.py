"""A display matrix may turn and mirror."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.probe import probe
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from tests.media.odd_files import plain, set_matrix

ONE = 1 << 16
SPEC = ClipSpec(frames=FrameStream(sampling=FrameSampling(count=2, seconds=1.0), resize=Resize(mode="native")))
# (a, b, c, d) of the matrix (a b 0; c d 0; 0 0 1): a point (x, y) of the picture is shown at (ax + cy, bx + dy)
ORIENTATIONS: dict[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]] = {
    (1, 0, 0, 1): lambda picture: picture,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (-1, 0, 0, -1): lambda picture: np.rot90(picture, 2),
    (0, 1, -1, 0): lambda picture: np.rot90(picture, -1),
    (0, -1, 1, 0): lambda picture: np.rot90(picture),
    (0, 1, 1, 0): lambda picture: picture.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda picture: np.rot90(picture, 2).transpose(1, 0, 2),
}


def copied(path: Path) -> Path:
    """The same bytes again: an encoder does not write them twice."""
    return Path(shutil.copy(path, path.with_name("copy.mp4")))


def matrix(a: float, b: float, c: float, d: float) -> list[int]:
    return [round(a * ONE), round(b * ONE), 0, round(c * ONE), round(d * ONE), 0, 0, 0, 1 << 30]


def frames(path: Path) -> np.ndarray:
    return read_clip(path, SPEC).frames_FHWC.numpy()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("values", ORIENTATIONS)
def test_all_eight_orientations_are_exact(values, scale, tmp_path: Path):
    upright = plain(tmp_path, "a.mp4")
    path = set_matrix(copied(upright), matrix(*(scale * value for value in values)))
    plain_frames, turned = frames(upright), frames(path)
    for before, after in zip(plain_frames, turned, strict=True):
        assert np.array_equal(after, ORIENTATIONS[values](before))
    info = probe(path)
    assert (info.height, info.width) == turned.shape[1:3]


@pytest.mark.parametrize("degrees", [30, 180 + 45])
def test_a_free_angle_turns_the_picture_within_its_size(degrees, tmp_path: Path):
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    upright = plain(tmp_path, "a.mp4")
    path = set_matrix(copied(upright), matrix(cosine, sine, -sine, cosine))
    before, after = frames(upright)[0], frames(path)[0]
    assert after.shape == before.shape
    assert after[0, 0].max() < 24  # black corners
    height, width = before.shape[:2]
    right, down = 16 * cosine, 16 * sine  # where a point 16 pixels right of the middle goes
    patch = before[height // 2 - 2 : height // 2 + 3, width // 2 + 14 : width // 2 + 19]
    y, x = round(height / 2 + down), round(width / 2 + right)
    assert after[y - 1 : y + 2, x - 1 : x + 2].mean() == pytest.approx(patch.mean(), abs=20)


def test_a_matrix_of_zeros_changes_nothing(tmp_path: Path):
    upright = plain(tmp_path, "a.mp4")
    assert np.array_equal(frames(set_matrix(copied(upright), [0] * 9)), frames(upright))
