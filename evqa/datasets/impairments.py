"""Draw one synthetic clip and impair it in four ways, each with a grade of its own.

What carries the label: blur, block artefacts, noise and frame drops. What only distracts: colour, contrast and
direction of a moving texture, and the discs in front of it. The texture never stands still, so that two frames are
equal only where the second was dropped. Frames at whole seconds are never dropped: key frames show nothing of it. Noise
is a fixed pattern, as of a sensor: noise that changes would be motion, too.

# F frames, H height, W width, C channels, G gratings
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evqa.datasets.scenes import paint_disc

SIDE, FPS, SECONDS = 56, 8, 3
GRADES = 5  # 0, no impairment, to 4
# What one grade is: standard deviation in pixels, share of the contrast, standard deviation in grey levels, share.
IMPAIRMENTS = {"blur": 0.7, "blocks": 0.2, "noise": 8.0, "drops": 0.2}
_BLOCK = 8
_GRATINGS = 16
_CRF = 10  # the encoder adds less than the lowest grade does

Frames = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ImpairedScene:
    """A clip of content that `seed` draws, with a grade of 0 to 4 for each of IMPAIRMENTS."""

    id: str
    grades: Mapping[str, int]
    seed: tuple[int, ...]


def write_impaired(scene: ImpairedScene, *, folder: Path) -> None:
    """Write `<id>.mp4`, without sound."""
    from evqa.media.encode import write_clip

    write_clip(folder / f"{scene.id}.mp4", frames_FHWC=impair(draw_content(scene), scene), fps=FPS, crf=_CRF)


def draw_content(scene: ImpairedScene) -> Frames:
    """Draw a tinted texture that moves straight at 1.5 to 3 pixels a frame, and two to four discs in front of it."""
    draw = np.random.default_rng([*scene.seed, 0])
    angle, speed = draw.uniform(0, 2 * np.pi), draw.uniform(1.5, 3)
    texture_FHW = _texture(draw, step_2=speed * np.array([np.sin(angle), np.cos(angle)]))
    tint_C = draw.uniform(90, 165) + draw.uniform(-25, 25, 3)
    frames_FHWC: Frames = tint_C + draw.uniform(28, 38) * texture_FHW[..., None]
    for _ in range(draw.integers(2, 5)):
        paint_disc(frames_FHWC, draw, radius=draw.uniform(4, 10), colour=draw.uniform(30, 225, 3))
    return frames_FHWC


def _texture(draw: np.random.Generator, *, step_2: NDArray[np.float64]) -> Frames:
    """Sum gratings of 4 to 32 pixels in all directions, each of the same strength; variance 1, exact between pixels."""
    angle_G = np.pi * (np.arange(_GRATINGS) + draw.uniform(size=_GRATINGS)) / _GRATINGS
    wave_G = 4 * 8 ** draw.permutation(np.linspace(0, 1, _GRATINGS))
    turn_G2 = 2 * np.pi * np.stack([np.sin(angle_G), np.cos(angle_G)], axis=1) / wave_G[:, None]
    phase_GF = draw.uniform(0, 2 * np.pi, (_GRATINGS, 1)) - (turn_G2 @ step_2)[:, None] * np.arange(FPS * SECONDS)
    along_GH, along_GW = (np.exp(1j * turn_G[:, None] * np.arange(SIDE)) for turn_G in turn_G2.T)
    summed_FHW = np.einsum("gf,gh,gw->fhw", np.exp(1j * phase_GF), along_GH, along_GW, optimize=True).real
    texture_FHW: Frames = summed_FHW * np.sqrt(2 / _GRATINGS)
    return texture_FHW


def impair(frames_FHWC: Frames, scene: ImpairedScene) -> NDArray[np.uint8]:
    """Impair frames in the order blur, blocks, noise, drops, so that none hides another."""
    draw = np.random.default_rng([*scene.seed, 1])
    strength = {name: unit * scene.grades[name] for name, unit in IMPAIRMENTS.items()}
    frames_FHWC = blur(frames_FHWC, pixels=strength["blur"])
    frames_FHWC = flatten_blocks(frames_FHWC, share=strength["blocks"])
    frames_FHWC = frames_FHWC + strength["noise"] * draw.normal(size=frames_FHWC.shape[1:3])[..., None]
    frames_FHWC = frames_FHWC[dropping(len(frames_FHWC), draw, share=strength["drops"])]
    return frames_FHWC.round().clip(0, 255).astype(np.uint8)


def blur(frames_FHWC: Frames, *, pixels: float) -> Frames:
    """Blur every frame with a Gaussian of this standard deviation."""
    from scipy.ndimage import gaussian_filter

    blurred_FHWC: Frames = gaussian_filter(frames_FHWC, sigma=(0, pixels, pixels, 0))
    return blurred_FHWC


def flatten_blocks(frames_FHWC: Frames, *, share: float) -> Frames:
    """Take this share from the differences inside each 8x8 block, as a coarse transform coder does."""
    num_frames, height, width, channels = frames_FHWC.shape
    blocks = frames_FHWC.reshape(num_frames, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, channels)
    flattened: Frames = blocks + share * (blocks.mean(axis=(2, 4), keepdims=True) - blocks)
    return flattened.reshape(frames_FHWC.shape)


def dropping(num_frames: int, draw: np.random.Generator, *, share: float) -> NDArray[np.int64]:
    """Drop this share of the frames, never one of every eighth; which frame is on display at the place of each."""
    number_F = np.arange(num_frames)
    between = number_F[number_F % FPS > 0]
    dropped = draw.choice(between, round(share * len(between)), replace=False)
    shown_F: NDArray[np.int64] = np.maximum.accumulate(np.where(np.isin(number_F, dropped), 0, number_F))
    return shown_F
