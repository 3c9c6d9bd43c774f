"""Sound files (WAV, FLAC, Ogg, MP3, ...) through soundfile.

# S samples, C channels, R rows, M mel bins
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from numpy.typing import NDArray
from torch import Tensor

from evqa.errors import MediaError
from evqa.media.fbank import kaldi_fbank
from evqa.media.limits import Budget
from evqa.media.reader import UnreadableError
from evqa.media.sound import Mono16k
from evqa.types import SAMPLE_RATE_HZ

_BLOCK_SAMPLES = 1 << 16
_PUBLISHED_SECONDS = 30


def read_audio_file(budget: Budget, *, num_samples: int | None) -> tuple[Tensor, float]:
    """Read a sound file as int16 mono 16 kHz, stopping after `num_samples` where given; channels are averaged.

    Returns the samples, and how long the whole file is in seconds.

    Raises:
        UnreadableError: soundfile does not know this kind of file.
        MediaError: a limit is broken.
    """
    import soundfile

    collected = Mono16k(budget)
    try:
        with soundfile.SoundFile(str(budget.path.absolute())) as file:
            seconds = file.frames / file.samplerate
            for block_SC in file.blocks(_BLOCK_SAMPLES, dtype="float32", always_2d=True):
                budget.check_time()
                collected.add(_mono_frame(block_SC, file.samplerate))
                if num_samples is not None and collected.num_samples >= num_samples:
                    break
        return collected.finish()[:num_samples], seconds
    except (soundfile.SoundFileError, av.FFmpegError) as error:
        raise UnreadableError(str(error)) from error


def _mono_frame(block_SC: NDArray[np.float32], rate_hz: int) -> AudioFrame:
    mono = np.ascontiguousarray(block_SC.mean(axis=1, dtype=np.float32)[None])
    frame = AudioFrame.from_ndarray(mono, format="flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame


def published_file_fbank(path: Path, *, crop: random.Random) -> Tensor:
    """Filter bank of a sound file as LMM-EVQA's `process_audio_file` computes it (modality `a`), float64 [2998, 128].

    First channel only, a random crop of 30 s where the file is longer, zeros up to 30 s where it is shorter, then an
    FFT resampling to 16 kHz (librosa's `res_type="fft"`), all in float64. The model rounds it to bfloat16. It exists
    for parity alone: it reads no video file, and `read_clip` treats a sound file like any other track.

    Raises:
        MediaError: soundfile cannot read the file.
    """
    import soundfile

    try:
        sound_SC, rate_hz = soundfile.read(str(path.absolute()), dtype="float64", always_2d=True)
    except soundfile.SoundFileError as error:
        raise MediaError(path, "is not a sound file in a known format, or it is damaged") from error
    wanted = _PUBLISHED_SECONDS * rate_hz
    sound_S = sound_SC[:, 0]
    start = crop.randint(0, len(sound_S) - wanted) if len(sound_S) > wanted else 0
    cut_S = sound_S[start : start + wanted]
    padded_S = np.pad(cut_S, (0, wanted - len(cut_S)))
    return kaldi_fbank(torch.from_numpy(fft_resample(padded_S, math.ceil(wanted * SAMPLE_RATE_HZ / rate_hz))))


def fft_resample(sound_S: NDArray[np.float64], num_samples: int) -> NDArray[np.float64]:
    """Resample by cutting or extending the spectrum, as `scipy.signal.resample` does for real input."""
    old = len(sound_S)
    if num_samples == old:
        return sound_S
    spectrum = np.fft.rfft(sound_S)
    shared = min(num_samples, old)
    resampled = np.zeros(num_samples // 2 + 1, dtype=spectrum.dtype)
    resampled[: shared // 2 + 1] = spectrum[: shared // 2 + 1]
    if shared % 2 == 0:  # the highest shared frequency stands for two conjugate ones on one of the sides
        resampled[shared // 2] *= 2.0 if num_samples < old else 0.5
    return np.asarray(np.fft.irfft(resampled, num_samples) * (num_samples / old), dtype=np.float64)
