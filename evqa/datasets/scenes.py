"""Draw and sound one synthetic clip from its factors.

What carries the label: the colour of the large disc (blue to red), the balance of a low and a high tone, and one graded
word. What only distracts: places, motion, brightness, grain and a green-magenta disc; pitch, loudness, tremolo, a
middle tone and noise; all other words, and whether title or description is there.

# F frames, H height, W width, C channels, S audio samples
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from evqa.types import SAMPLE_RATE_HZ

SIDE, FPS, SECONDS = 64, 8, 2
GRADED_WORDS = ("awful", "dull", "plain", "okay", "decent", "lively", "great", "superb")
OTHER_WORDS = (
    "morning", "walk", "sunflower", "puppy", "red heart", "teatime", "athlete", "basketball", "my", "the", "dance",
    "street", "cooking", "with", "friends", "holiday", "crying face", "guitar", "rain", "new", "shoes", "Überraschung",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a clip shows, sounds like and says.

    visual / acoustic: factors with mean 0 and variance 1. grade: index into GRADED_WORDS. seed: of what distracts.
    """

    id: str
    visual: float
    acoustic: float
    grade: int
    seed: tuple[int, ...]


def write_scene(scene: Scene, *, folder: Path) -> None:
    """Write `<id>.mp4`."""
    from evqa.media.encode import write_clip

    write_clip(folder / f"{scene.id}.mp4", frames_FHWC=draw_frames(scene), fps=FPS, waveform_S=make_sound(scene))


def draw_frames(scene: Scene) -> NDArray[np.uint8]:
    """Draw two moving discs on a grey, grainy ground; the large one's colour is the visual factor."""
    draw = np.random.default_rng([*scene.seed, 0])
    red = _unit(scene.visual)
    hue = draw.uniform(-1, 1)
    light = draw.uniform(-20, 20)
    discs = (
        (draw.uniform(13, 19), np.array([50 + 190 * red, 110, 240 - 190 * red]) + light),
        (draw.uniform(5, 9), np.array([120 - 70 * hue, 120 + 70 * hue, 120 - 70 * hue])),
    )
    frames_FHWC = np.empty((FPS * SECONDS, SIDE, SIDE, 3))
    frames_FHWC[:] = draw.uniform(50, 170) + draw.uniform(-40, 40) * np.linspace(-0.5, 0.5, SIDE)[:, None, None]
    for radius, colour in discs:
        paint_disc(frames_FHWC, draw, radius=radius, colour=colour)
    frames_FHWC += draw.normal(0, 6, frames_FHWC.shape[:3])[..., None]
    return frames_FHWC.clip(0, 255).astype(np.uint8)


def make_sound(scene: Scene) -> NDArray[np.float32]:
    """Mix three tones and noise; the level of the high tone over the low one (-18 to 18 dB) is the acoustic factor."""
    draw = np.random.default_rng([*scene.seed, 1])
    seconds_S = np.arange(SECONDS * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    balance_db = 36 * (_unit(scene.acoustic) - 0.5)
    levels_db = (-balance_db / 2, draw.uniform(-9, 9), balance_db / 2)
    pitches_hz = np.array([300.0, 900.0, 2700.0]) * 2 ** draw.uniform(-0.2, 0.2, 3)
    wave_S = sum(
        10 ** (level / 20) * np.sin(2 * np.pi * (pitch * seconds_S + draw.uniform()))
        for level, pitch in zip(levels_db, pitches_hz, strict=True)
    )
    tremolo_S = 1 + 0.4 * np.sin(2 * np.pi * (draw.uniform(1, 6) * seconds_S + draw.uniform()))
    noise_S = draw.normal(0, 10 ** (draw.uniform(-35, -20) / 20), len(seconds_S))
    loudness = 10 ** (draw.uniform(-34, -26) / 20)
    sound_S: NDArray[np.float32] = (loudness * (wave_S * tremolo_S + noise_S)).clip(-1, 1).astype(np.float32)
    return sound_S


def choose_words(scene: Scene) -> tuple[str, str]:
    """Write (title, description), one of them with the graded word; the other may be empty."""
    draw = np.random.default_rng([*scene.seed, 2])
    said = [*draw.choice(OTHER_WORDS, draw.integers(1, 4)).tolist()]
    said.insert(draw.integers(0, len(said) + 1), GRADED_WORDS[scene.grade])
    other = draw.choice(OTHER_WORDS, draw.integers(2, 6)).tolist() if draw.uniform() < 0.5 else []
    texts = (" ".join(said), " ".join(other))
    return texts if draw.uniform() < 0.7 else (texts[1], texts[0])


def _unit(factor: float) -> float:
    return NormalDist().cdf(factor)


def paint_disc(
    frames_FHWC: NDArray[np.float64], draw: np.random.Generator, *, radius: float, colour: NDArray[np.float64]
) -> None:
    """Paint a disc into square frames; it moves straight, at most 4 pixels a frame, and is thrown back by the edges."""
    num_frames, side = frames_FHWC.shape[:2]
    room = side - 2 * radius
    travelled_F2 = draw.uniform(0, 2 * room, 2) + np.arange(num_frames)[:, None] * draw.uniform(-4, 4, 2)
    places_F2 = radius + room - np.abs(travelled_F2 % (2 * room) - room)
    distance_FHW = np.hypot(
        np.arange(side)[None, :, None] - places_F2[:, 0, None, None],
        np.arange(side)[None, None, :] - places_F2[:, 1, None, None],
    )
    frames_FHWC[distance_FHW < radius] = colour
