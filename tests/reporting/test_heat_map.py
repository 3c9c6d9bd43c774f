"""The picture of levels along the play time: every second can be seen, and what is not known."""

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from evqa.reporting.heat_map import draw_levels, levels_as_text


def widths(path, levels):
    """Draw; return how wide the worst level's colour and that of an unknown one are, and the picture's size."""
    draw_levels(levels, path, title="视频.mp4")
    pixels_HWC = np.asarray(Image.open(path).convert("RGB"))
    worst, unknown = (np.array(colour) for colour in (rgb(0.0), (0x9A, 0xA0, 0xAA)))
    # The colour bar begins right of the panel: its share of the width is less than a sixth.
    height, width, _ = pixels_HWC.shape
    panel = pixels_HWC[: height * 2 // 3, : width * 5 // 6]  # without the legend below
    return [int((panel == colour).all(-1).sum(1).max()) for colour in (worst, unknown)], panel.shape


def rgb(level):
    return [round(255 * part) for part in mpl.colormaps["viridis"](level)[:3]]


@pytest.mark.parametrize("num_seconds", [10, 60, 600, 1500])
def test_a_single_bad_second_can_be_seen(tmp_path, num_seconds):
    bad = [0.9] * num_seconds
    bad[num_seconds // 3] = 0.0
    bad[num_seconds // 2] = None
    (worst, unknown), (_, width, _) = widths(tmp_path / "a.png", {"sharpness": bad, "noise": [0.9] * num_seconds})
    expected = 0.8 * width / min(num_seconds, 600)
    assert worst >= max(2, 0.7 * expected)
    assert unknown >= max(2, 0.7 * expected)


def test_text_wraps_to_the_width():
    levels = {"a": [0.0, 0.251, 1.0, None], "long name": [0.5] * 4}
    assert levels_as_text(levels, width=22).splitlines() == [
        "second        0    1",
        "a          0.00 0.25",
        "long name  0.50 0.50",
        "",
        "second        2    3",
        "a          1.00    -",
        "long name  0.50 0.50",
    ]
    assert levels_as_text(levels, width=5).count("second") == 4
