"""What the published code does to read one sample, for comparison only; nothing else uses it.

LMM-EVQA (commit b3434ee) with VideoLLaMA2's `mm_utils`: decord for eight frames, Pillow and NumPy in
`SiglipImageProcessor` (transformers 4.42), an ffmpeg program for the sound, a Kaldi filter bank of 30 s. The filter
bank is ours, which is in the reference's favour: torchaudio's takes longer.

# F frames, C channels, H, W height and width, S samples, R rows, M mel bins
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from evqa.errors import MissingDependencyError
from evqa.media.audio import AudioWindow
from evqa.media.fbank import kaldi_fbank
from evqa.types import SAMPLE_RATE_HZ

NUM_FRAMES, SIZE = 8, 384
PADDED_SECONDS = 30

Clock = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class ReferenceSample:
    """numbers: frames taken. pixels_FCHW: float32 in -1..1. fbank_RM: bfloat16, 2998 rows."""

    numbers: list[int]
    pixels_FCHW: Tensor
    fbank_RM: Tensor


def has_ffmpeg() -> bool:
    """Return whether the ffmpeg program is installed; without it PyAV decodes the reference's sound."""
    return shutil.which("ffmpeg") is not None


def why_unreadable(path: Path) -> str | None:
    """Return why the reference cannot read a file, None where it can."""
    try:
        read_reference(path, lambda _: nullcontext())
    except MissingDependencyError:
        raise
    except (RuntimeError, IndexError, StopIteration, ValueError) as error:
        return f"the reference cannot read it ({str(error).strip().splitlines()[-1][:120]})"
    return None


def read_reference(path: Path, clock: Clock) -> ReferenceSample:
    """Read one sample as the published training code does.

    Raises:
        MissingDependencyError: decord or Pillow is not installed.
    """
    try:
        import decord
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("the reference path needs decord and Pillow: pip install decord pillow") from error
    with clock("open"):
        video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    with clock("decode"):
        numbers = first_n_seconds(len(video), video.get_avg_fps())
        frames = video.get_batch(numbers).asnumpy()
    with clock("resize"):
        pictures = [Image.fromarray(frame) for frame in frames]
        pixels = torch.tensor(np.array([siglip_preprocess(picture) for picture in pictures]))
    with clock("audio"):
        waveform_S = eight_clips(_decode_sound(path))
    with clock("fbank"):
        fbank_RM = padded_fbank(waveform_S)
    return ReferenceSample(numbers=numbers, pixels_FCHW=pixels, fbank_RM=fbank_RM)


def first_n_seconds(num_frames: int, fps: float) -> list[int]:
    """Choose frames as `mm_utils.frame_sample(mode='first_n_seconds')` does."""
    if num_frames < NUM_FRAMES * fps:
        return [int(number) for number in np.linspace(0, num_frames - 1, NUM_FRAMES, dtype=int)]
    return [int(i * fps) for i in range(NUM_FRAMES)]


def siglip_preprocess(picture: Any) -> NDArray[np.float32]:
    """Resize, rescale and normalise one picture to [C, H, W].

    The same operations as in transformers 4.42's `SiglipImageProcessor`: equal to its output, and as fast.
    """
    from PIL import Image

    image = np.array(picture)
    resized = np.array(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC, reducing_gap=None))
    rescaled = (resized * (1 / 255)).astype(np.float32)
    mean, std = np.array([0.5] * 3, dtype=np.float32), np.array([0.5] * 3, dtype=np.float32)
    normalised = (rescaled - mean) / std
    channels_first: NDArray[np.float32] = normalised.transpose(2, 0, 1)
    return channels_first


def _decode_sound(path: Path) -> Tensor:
    """Return all samples as float32; zeros of 30 s where there is no sound, as published."""
    if not has_ffmpeg():
        from evqa.media.clip import ClipSpec, read_clip

        clip = read_clip(path, ClipSpec(audio=AudioWindow(policy="whole")))
        return clip.waveform_S if clip.waveform_S is not None else _silence()
    flags = ["-vn", "-acodec", "pcm_s16le", "-ac", "1", "-ar", str(SAMPLE_RATE_HZ), "-f", "s16le", "-"]
    command = ["ffmpeg", "-nostdin", "-i", str(path.absolute()), *flags]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    samples = np.frombuffer(result.stdout, np.int16)
    return torch.from_numpy(samples.astype(np.float32) / 32768.0) if samples.size else _silence()


def _silence() -> Tensor:
    return torch.zeros(PADDED_SECONDS * SAMPLE_RATE_HZ)


def padded_fbank(waveform_S: Tensor) -> Tensor:
    """Compute the filter bank [R, M] of a sound and the silence that makes it 30 s long."""
    padded = functional.pad(waveform_S, (0, PADDED_SECONDS * SAMPLE_RATE_HZ - waveform_S.numel()))
    return kaldi_fbank(padded).to(torch.bfloat16)


def eight_clips(waveform_S: Tensor) -> Tensor:
    """Join eight clips of two seconds as pytorchvideo 0.1.5's sampler cuts them."""
    duration = waveform_S.numel() / SAMPLE_RATE_HZ
    step = Fraction(max(duration - 2, 0)) / 8
    starts: Sequence[Fraction] = [step * k for k in range(8)]
    clips = [waveform_S[int(start * SAMPLE_RATE_HZ) : int((start + 2) * SAMPLE_RATE_HZ)] for start in starts]
    return torch.cat(clips)
