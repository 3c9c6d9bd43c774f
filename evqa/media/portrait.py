"""Write clips like SnapUGC's: portrait, H.264 as x264 makes it for phones, few keyframes, AAC sound.

# H, W height and width, C channels, S samples
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, FPS = 854, 480, 30
AUDIO_HZ = 44_100
_X264 = {"crf": "28", "preset": "veryfast", "profile": "main", "threads": "1"}
_X264_PARAMS = "keyint=150:ref=2:bframes=3:b-pyramid=normal:b-adapt=1"


def write_portrait_clip(path: Path, *, seconds: float, seed: int) -> None:
    """Encode a moving textured scene with noise, and a melody; the same arguments give the same pictures."""
    draw = np.random.default_rng(seed)
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FPS, options=_X264 | {"x264-params": _X264_PARAMS})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=AUDIO_HZ, layout="mono", bit_rate=96_000)
        scene = _texture(draw)
        for number in range(round(seconds * FPS)):
            frame = av.VideoFrame.from_ndarray(_picture(scene, number, draw), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        _add_sound(container, audio, _melody(seconds, draw))


def _texture(draw: np.random.Generator) -> NDArray[np.uint8]:
    """Return smooth noise of several scales, larger than a picture, for the camera to move over."""
    height, width = 2 * HEIGHT, 2 * WIDTH
    total = np.zeros((height, width, 3), np.float32)
    for scale in (256, 64, 16, 4):
        coarse = draw.normal(size=(height // scale + 2, width // scale + 2, 3)).astype(np.float32)
        total += coarse.repeat(scale, axis=0).repeat(scale, axis=1)[:height, :width] * scale**0.4
    return np.asarray((total - total.min()) / np.ptp(total) * 255, dtype=np.uint8)


def _picture(scene: NDArray[np.uint8], number: int, draw: np.random.Generator) -> NDArray[np.uint8]:
    """Return a window of the scene that wanders, under an object that moves by itself."""
    angle = number / 45
    top = int((1 + np.sin(angle)) * HEIGHT / 2.1)
    left = int((1 + np.cos(0.7 * angle)) * WIDTH / 2.1)
    picture = scene[top : top + HEIGHT, left : left + WIDTH].copy()
    at = int((1 + np.sin(3 * angle)) * HEIGHT / 3)
    picture[at : at + 160, 120:280] = picture[at : at + 160, 120:280] // 2 + 90
    grain = draw.integers(0, 7, (HEIGHT // 2, WIDTH // 2, 1), dtype=np.uint8)
    noisy: NDArray[np.uint8] = np.minimum(picture, 248) + grain.repeat(2, axis=0).repeat(2, axis=1)
    return noisy


def _melody(seconds: float, draw: np.random.Generator) -> NDArray[np.float32]:
    times_S = np.arange(round(seconds * AUDIO_HZ)) / AUDIO_HZ
    pitch_S = draw.choice([220.0, 277.2, 329.6, 440.0], size=int(seconds * 2) + 1)[(times_S * 2).astype(int)]
    sound_S = 0.3 * np.sin(2 * np.pi * pitch_S * times_S) + draw.normal(0, 0.02, times_S.size)
    return np.asarray(sound_S, dtype=np.float32)


def _add_sound(container: Any, stream: Any, waveform_S: NDArray[np.float32]) -> None:
    frame = av.AudioFrame.from_ndarray(waveform_S[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_HZ, 0, Fraction(1, AUDIO_HZ)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
