"""The one way from a media file to a `Clip`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import torch

from evqa.errors import MediaError
from evqa.media.audio import AudioWindow
from evqa.media.limits import Limits
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.types import Clip

__all__ = ["ClipSpec", "Limits", "read_clip"]


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What to read from a media file; everything here changes pixels or samples (the limits only decide on failure).

    frames / audio: None reads no picture / no sound. audio_as: the sound as waveform or as filter bank.
    """

    frames: FrameSampling | None = None
    audio: AudioWindow | None = None
    resize: Resize = Resize()
    audio_as: Literal["waveform", "fbank"] = "waveform"
    reader: Literal["packets", "decord"] = "packets"
    limits: Limits = Limits()


def read_clip(path: Path, spec: ClipSpec) -> Clip:
    """Read frames and sound of a file as `spec` asks.

    Raises:
        MediaError: the file cannot be read, breaks a limit, or holds nothing that was asked for.
    """
    try:
        return _read(path, spec)
    except av.FFmpegError as error:
        raise MediaError(path, f"cannot be decoded ({error.strerror})") from error
    except OSError as error:
        raise MediaError(path, f"cannot be opened ({error.strerror})") from error


def _read(path: Path, spec: ClipSpec) -> Clip:
    frames = seconds = waveform = None
    if spec.frames:
        with av.open(str(path)) as container:
            decoded = [f for f in container.decode(video=0)]
        times = [i * spec.frames.seconds / spec.frames.count for i in range(spec.frames.count)]
        start = decoded[0].time or 0.0
        chosen = [max([f for f in decoded if (f.time or 0) - start <= t], key=lambda f: f.time or 0) for t in times]
        native = torch.stack([torch.from_numpy(f.to_ndarray(format="rgb24")) for f in chosen])
        size = (spec.resize.size, spec.resize.size)
        frames = torch.nn.functional.interpolate(native.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1).contiguous()
        seconds = torch.tensor([(f.time or 0) - start for f in chosen], dtype=torch.float64)
    if spec.audio:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
        with av.open(str(path)) as container:
            if container.streams.audio:
                pieces = [r for f in [*container.decode(audio=0), None] for r in resampler.resample(f)]
                samples = [torch.from_numpy(p.to_ndarray()[0]) for p in pieces]
                waveform = torch.cat(samples).float()[: int(spec.audio.seconds * 16000)] / 32768
    missing = ("no audio track",) if spec.audio and waveform is None else ()
    return Clip(frames_FHWC=frames, seconds_F=seconds, waveform_S=waveform, missing=missing)
