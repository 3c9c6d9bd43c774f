"""Write a short clip with picture and sound, for data that the project makes itself.

# F frames, H height, W width, C channels, S audio samples
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from evqa.types import SAMPLE_RATE_HZ


def write_clip(
    path: Path,
    *,
    frames_FHWC: NDArray[np.uint8],
    fps: int,
    waveform_S: NDArray[np.float32] | None = None,
    crf: int = 23,
) -> None:
    """Encode frames (RGB, even sides) as H.264 and sound (mono, 16 kHz, in [-1, 1]) as AAC into an MP4 file.

    crf: x264's quality, 0 (lossless but for the colours' resolution) to 51; 23 is its default. One thread, no random
    choice: the same input gives the same bytes with the same FFmpeg.
    """
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        num_frames, height, width, _ = frames_FHWC.shape
        # Without cpu-independent the same pictures give other bytes from one call to the next.
        exact = {"threads": "1", "x264-params": "cpu-independent=1"}
        video = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryfast"} | exact)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        # The default coder of FFmpeg's AAC takes four times as long as the picture.
        options = {"aac_coder": "fast"}
        audio = None
        if waveform_S is not None:
            audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=64_000, options=options)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(frames_FHWC[index], format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and waveform_S is not None:
            _encode_sound(container, audio, waveform_S)


def _encode_sound(container: Any, stream: Any, waveform_S: NDArray[np.float32]) -> None:
    samples = np.ascontiguousarray(waveform_S, dtype=np.float32)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, 0, Fraction(1, SAMPLE_RATE_HZ)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
