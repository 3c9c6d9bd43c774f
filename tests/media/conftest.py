"""Videos made when the tests run: moving patterns that differ in every frame, with the structures real files have."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

MakeVideo = Callable[..., Path]
TICKS = 600  # a second


def write_video(
    path: Path,
    *,
    seconds: Sequence[float],
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    tone_seconds: float = 0.0,
    tone_channels: str = "mono",
    rotation: int = 0,
) -> Path:
    """Frames at the given display times (width, height in `size`), and a 440 Hz tone of the given length."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=30, options=options or {})
        video.width, video.height = size
        video.pix_fmt, video.time_base = "yuv420p", Fraction(1, TICKS)
        video.codec_context.time_base = Fraction(1, TICKS)
        sound = container.add_stream("aac", rate=44_100, layout=tone_channels) if tone_seconds else None
        for number, moment in enumerate(seconds):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = round(moment * TICKS), Fraction(1, TICKS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            wave = np.sin(np.arange(round(44_100 * tone_seconds)) * (2 * np.pi * 440 / 44_100)).astype(np.float32) / 2
            block = np.ascontiguousarray(np.tile(wave, (2 if tone_channels == "stereo" else 1, 1)))
            tone = av.AudioFrame.from_ndarray(block, format="fltp", layout=tone_channels)
            tone.sample_rate, tone.pts, tone.time_base = 44_100, 0, Fraction(1, 44_100)
            container.mux(sound.encode(tone))
            container.mux(sound.encode(None))
    if rotation:
        _rotate(path, rotation)
    return path


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """Noise that moves and a grey that tells the number: every frame differs, motion makes B frames useful."""
    width, height = size
    moved = np.roll(_noise(size), (number, 2 * number), axis=(0, 1))
    moved[: height // 4, : width // 4] = 16 + number % 200
    return moved


@cache
def _noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(7).integers(40, 168, (size[1], size[0], 3), dtype=np.uint8)


def _rotate(path: Path, degrees: int) -> None:
    """Write the display matrix of a phone's upright film into the video track's header (the first `tkhd`)."""
    data = bytearray(path.read_bytes())
    matrix_at = data.index(b"tkhd") + 4 + 40
    cosine, sine = {90: (0, -1), -90: (0, 1), 180: (-1, 0)}[degrees]
    one = 1 << 16
    values = [cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30]
    data[matrix_at : matrix_at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(bytes(data))


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    def make(name: str = "video.mp4", **how: object) -> Path:
        how.setdefault("seconds", [i / 30 for i in range(60)])
        return write_video(tmp_path / name, **how)  # type: ignore[arg-type]

    return make


@pytest.fixture
def damage() -> Callable[[Path], Path]:
    """Overwrite 400 bytes in the first half of an MP4 file's media data."""

    def overwrite(path: Path) -> Path:
        data = bytearray(path.read_bytes())
        start = data.index(b"mdat") + len(data) // 3
        data[start : start + 400] = random.Random(1).randbytes(400)
        path.write_bytes(bytes(data))
        return path

    return overwrite
