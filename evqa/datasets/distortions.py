"""Distort a clean clip in one of fifteen ways, at a known strength.

The eleven spatial distortions are those that VQA2's first stage is taught to name, the four of motion likewise (Jia et
al., 2024, arXiv 2411.03795; its clips and strengths are not published, these strengths are ours). A grade is 1 to 4;
lengths are shares of the shorter side, so that a grade looks alike in clips of any size.

# F frames, H height, W width, C channels
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evqa.datasets.impairments import blur, dropping, flatten_blocks

GRADES = range(1, 5)
# What one grade is.
BLUR, MOTION_BLUR = 0.0125, 0.06  # standard deviation of the Gaussian, length of the streak: shares of the shorter side
NOISE = 10.0  # standard deviation in grey levels
STOPS = 0.5  # of exposure, up or down
MORE, LESS = 0.5, 0.22  # of contrast (about mid-grey) and of saturation
BLOCKS = 0.22  # share of the differences inside blocks of 8 x 8 pixels that is lost
CRF_CLEAN, CRF, CRF_STEP = 10, 29, 5  # of x264: of all other clips; of a compressed one, and its step
FROZEN, DROPPED = 0.15, 0.2  # shares of the frames
SHAKE, FLICKER = 0.018, 0.1  # largest shift as a share of the shorter side; standard deviation of the brightness
_GREY = 128.0
_LUMA_C = (0.299, 0.587, 0.114)
_CHUNK = 16  # frames that are float64 at one time

Pictures = NDArray[np.uint8]
Frames = NDArray[np.float64]


def distort(frames_FHWC: Pictures, name: str, *, grade: int, draw: np.random.Generator) -> Pictures:
    """Distort RGB frames of sides that are multiples of 8; `compression artifact` leaves them to the encoder.

    draw: of what a distortion leaves open: direction, noise, which frames.
    """
    if name in _OF_ORDER:
        return frames_FHWC[_OF_ORDER[name](len(frames_FHWC), grade, draw)]
    if name not in _OF_FRAMES:
        return frames_FHWC
    change = _OF_FRAMES[name](grade, draw)
    chunks = [change(frames_FHWC[at : at + _CHUNK].astype(float)) for at in range(0, len(frames_FHWC), _CHUNK)]
    return np.concatenate([chunk.round().clip(0, 255).astype(np.uint8) for chunk in chunks])


def crf_of(name: str, *, grade: int) -> int:
    """x264's quality for a distorted clip."""
    return CRF + CRF_STEP * grade if name == COMPRESSION else CRF_CLEAN


Change = Callable[[Frames], Frames]


def _blurred(grade: int, draw: np.random.Generator) -> Change:
    del draw
    return lambda frames_FHWC: blur(frames_FHWC, pixels=BLUR * grade * _side(frames_FHWC))


def _streaked(grade: int, draw: np.random.Generator) -> Change:
    angle = draw.uniform(0, np.pi)

    def change(frames_FHWC: Frames) -> Frames:
        reach = MOTION_BLUR * grade * _side(frames_FHWC) / 2
        steps = np.linspace(-reach, reach, 2 * int(np.ceil(reach)) + 1)
        places = [(round(step * np.sin(angle)), round(step * np.cos(angle))) for step in steps]
        streaked_FHWC = np.zeros_like(frames_FHWC)
        for place in places:
            streaked_FHWC += _moved(frames_FHWC, place)
        return streaked_FHWC / len(places)

    return change


def _noisy(grade: int, draw: np.random.Generator) -> Change:
    return lambda frames_FHWC: frames_FHWC + NOISE * grade * draw.normal(size=frames_FHWC.shape[:3])[..., None]


def _blocky(grade: int, draw: np.random.Generator) -> Change:
    del draw
    return lambda frames_FHWC: flatten_blocks(frames_FHWC, share=BLOCKS * grade)


def _exposed(sign: int) -> Callable[[int, np.random.Generator], Change]:
    return lambda grade, _: lambda frames_FHWC: frames_FHWC * 2 ** (sign * STOPS * grade)


def _contrasted(step: float) -> Callable[[int, np.random.Generator], Change]:
    return lambda grade, _: lambda frames_FHWC: _GREY + (1 + step * grade) * (frames_FHWC - _GREY)


def _saturated(step: float) -> Callable[[int, np.random.Generator], Change]:
    def of(grade: int, draw: np.random.Generator) -> Change:
        del draw

        def change(frames_FHWC: Frames) -> Frames:
            luma_FHW1: Frames = (frames_FHWC @ np.array(_LUMA_C))[..., None]
            return luma_FHW1 + (1 + step * grade) * (frames_FHWC - luma_FHW1)

        return change

    return of


def _shaken(grade: int, draw: np.random.Generator) -> Change:
    def change(frames_FHWC: Frames) -> Frames:
        reach = max(1, round(SHAKE * grade * _side(frames_FHWC)))
        places = draw.integers(-reach, reach, (len(frames_FHWC), 2), endpoint=True).tolist()
        return np.concatenate([_moved(frame[None], place) for frame, place in zip(frames_FHWC, places, strict=True)])

    return change


def _flickering(grade: int, draw: np.random.Generator) -> Change:
    def change(frames_FHWC: Frames) -> Frames:
        gain_F = 1 + FLICKER * grade * draw.normal(size=len(frames_FHWC))
        return frames_FHWC * gain_F[:, None, None, None]

    return change


def _stalled(num_frames: int, grade: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Stop once, and go on where it stopped; what would come after the clip's end is not shown."""
    length = round(FROZEN * grade * num_frames)
    start = draw.integers(0, num_frames - length, endpoint=True)
    number_F = np.arange(num_frames)
    return np.where(number_F < start, number_F, np.maximum(start, number_F - length)).clip(0, num_frames - 1)


def _stuttering(num_frames: int, grade: int, draw: np.random.Generator) -> NDArray[np.int64]:
    return dropping(num_frames, draw, share=DROPPED * grade)


def _side(frames_FHWC: Frames) -> int:
    side: int = min(frames_FHWC.shape[1:3])
    return side


def _moved(frames_FHWC: Frames, place: Sequence[int]) -> Frames:
    """Move the picture down and to the right; its edge is repeated where nothing is left."""
    rows, columns = (
        (np.arange(length) - by).clip(0, length - 1) for length, by in zip(frames_FHWC.shape[1:3], place, strict=True)
    )
    return frames_FHWC[:, rows[:, None], columns]


COMPRESSION = "compression artifact"
_OF_FRAMES: Mapping[str, Callable[[int, np.random.Generator], Change]] = {
    "spatial blur": _blurred,
    "motion blur": _streaked,
    "noise": _noisy,
    "overexposure": _exposed(1),
    "underexposure": _exposed(-1),
    "low contrast": _contrasted(-LESS),
    "high contrast": _contrasted(MORE),
    "oversaturation": _saturated(MORE),
    "desaturation": _saturated(-LESS),
    "block effect": _blocky,
    "shake": _shaken,
    "flicker": _flickering,
}
_OF_ORDER: Mapping[str, Callable[[int, int, np.random.Generator], NDArray[np.int64]]] = {
    "stall": _stalled,
    "stutter": _stuttering,
}
MOTION = ("stall", "stutter", "shake", "flicker")
SPATIAL = (COMPRESSION, *(name for name in _OF_FRAMES if name not in MOTION))
