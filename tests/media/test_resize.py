"""Sizes by Qwen's rule, pixels by Pillow's filter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evqa.errors import ConfigError
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.resize import PAD_COLOUR, Resize, pad_to_square
from evqa.media.sampling import FrameSampling
from tests.golden import small_pixels


def smooth_frame(height: int, width: int) -> torch.Tensor:
    coarse = np.random.default_rng(0).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    return torch.from_numpy(coarse.repeat(16, 0).repeat(16, 1)[:height, :width].copy())


@pytest.mark.parametrize("mode", ["square", "pad"])
@pytest.mark.parametrize("size_hw", [(480, 270), (270, 480), (64, 64)])
def test_torch_is_within_two_grey_levels_of_two_pillow_passes(mode, size_hw):
    frame_HWC = smooth_frame(*size_hw)
    fast = Resize(mode=mode, size=128).apply(frame_HWC)
    exact = Resize(mode=mode, size=128, exact=True).apply(frame_HWC)
    assert fast.shape == exact.shape == (128, 128, 3)
    assert fast.is_contiguous()
    difference = (fast.int() - exact.int()).abs()
    assert difference.max() <= 2
    assert difference.float().mean() < 0.02


def test_exact_pixels_are_the_published_ones(golden: Path):
    # (x / 255 - 0.5) / 0.5 of uniform frames, squashed and letter-boxed
    videos, compared = golden / "preprocess/videos", 0
    for path in sorted(golden.glob("preprocess/pixels_*.npz")):
        video = videos / f"{path.stem.removeprefix('pixels_')}.mp4"
        for mode, name in (("square", "none"), ("pad", "pad")):
            stored = small_pixels(path, name)
            if not video.is_file() or stored is None:
                continue
            expected, count, size = stored
            sampling = FrameSampling(policy="uniform", count=count, exact=True)
            for exact, tolerance in ((True, 0.0), (False, 2.0)):
                frames = FrameStream(sampling=sampling, resize=Resize(mode=mode, size=size, exact=exact))
                clip = read_clip(video, ClipSpec(frames=frames))
                found = ((clip.frames_FHWC / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
                distance = (found - torch.from_numpy(expected)).abs().max().item() * 127.5
                assert distance <= tolerance + 1e-4, (video.name, mode, exact)
                compared += 1
    assert compared


def test_letter_boxes_are_grey_and_centred_with_the_odd_line_behind():
    padded = pad_to_square(torch.zeros((4, 7, 3), dtype=torch.uint8))
    assert padded.shape == (7, 7, 3)
    assert (padded[[0, 5, 6]] == PAD_COLOUR).all()
    assert (padded[1:5] == 0).all()


def test_native_frames_stay_as_they_are():
    frame_HWC = smooth_frame(33, 21)
    assert torch.equal(Resize(mode="native").apply(frame_HWC), frame_HWC)


def test_budget_sizes_equal_the_published_table(golden: Path):
    path = golden / "prompt/qwen2_5_vl.json"
    if not path.is_file():
        pytest.skip("qwen2_5_vl.json is not in this copy of the reference numbers")
    for height, width, _, expected in json.loads(path.read_text())["smart_resize"]:
        assert list(Resize(mode="budget").target_hw(height, width)) == expected


@pytest.mark.parametrize("size_hw", [(854, 480), (97, 1200), (9, 11), (2160, 3840)])
def test_budget_sizes_are_multiples_within_the_budget(size_hw):
    height, width = Resize(mode="budget").target_hw(*size_hw)
    assert height % 28 == width % 28 == 0
    assert 128 * 28 * 28 <= height * width <= 768 * 28 * 28


def test_a_frame_too_long_for_the_budget_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="has frames of 4x1000; a frame may be at most 200 times as long as wide here"):
        Resize(mode="budget").target_hw(1000, 4)


def test_contradictory_settings_are_refused():
    with pytest.raises(ConfigError, match=r"resize\.max_pixels is 10; it must not be below min_pixels"):
        Resize(mode="budget", max_pixels=10)
