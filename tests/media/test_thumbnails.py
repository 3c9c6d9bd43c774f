import io

import numpy as np
import pytest
from PIL import Image

from evqa.errors import MediaError
from evqa.media.encode import write_clip
from evqa.media.limits import Limits
from evqa.media.thumbnails import jpeg_thumbnail, small_picture


def test_a_thumbnail_is_the_middle_frame_in_its_own_aspect_ratio(tmp_path):
    frames = np.zeros((9, 320, 180, 3), np.uint8)
    frames[4] = [200, 40, 40]
    write_clip(tmp_path / "clip.mp4", frames_FHWC=frames, fps=3)
    image = Image.open(io.BytesIO(jpeg_thumbnail(tmp_path / "clip.mp4", Limits(), width=160, max_height=320)))
    assert image.size[0] == 160
    assert image.size[1] == pytest.approx(160 * 320 / 180, rel=0.03)
    assert np.asarray(image).mean(axis=(0, 1)) == pytest.approx([200, 40, 40], abs=12)


def test_a_file_without_a_picture_says_why(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 100)
    for name, reason in (("broken.mp4", "known format"), ("missing.mp4", "no such file")):
        with pytest.raises(MediaError, match=reason):
            small_picture(tmp_path / name, Limits(), max_pixels=100 * 100)
