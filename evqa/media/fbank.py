"""Kaldi's log-mel filter bank in torch, as BEATs was trained with.

The numbers follow torchaudio's `compliance.kaldi.fbank` (BSD-2-Clause) for the one setting that is used here: 128 mel
bins, 16 kHz, 25 ms windows every 10 ms, povey window, pre-emphasis 0.97, DC removal, no dither, whole windows only.

# S samples, R rows (one every 10 ms), M mel bins, K frequencies
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from evqa.types import SAMPLE_RATE_HZ

MEL_BINS = 128
WINDOW = 400  # samples, 25 ms
SHIFT = 160  # samples, 10 ms
INT16_SCALE = 32768.0
_FFT_SIZE = 512
_LOW_HZ = 20.0
_PREEMPHASIS = 0.97
_BLOCK = 256  # rows at a time: the scratch space stays in the cache, three times faster than all rows at once
_FLOOR = torch.finfo(torch.float32).eps
SILENCE = math.log(_FLOOR)  # -15.942385: every bin of a row of zeros


def kaldi_fbank(waveform_S: Tensor, *, scale: float = INT16_SCALE) -> Tensor:
    """Compute the filter bank of every whole window.

    Args:
        waveform_S: float samples at 16 kHz. float64 is computed in float64.
        scale: factor that brings the samples to the range of int16, where Kaldi works.

    Returns:
        fbank_RM: natural log of mel energies, the waveform's dtype; R = 1 + (S - 400) // 160, or 0 rows below 400
        samples.
    """
    if waveform_S.shape[-1] < WINDOW:
        return waveform_S.new_zeros((0, MEL_BINS))
    windows_RS = (waveform_S * scale).unfold(0, WINDOW, SHIFT)
    spectrum_input = waveform_S.new_zeros((min(_BLOCK, windows_RS.shape[0]), _FFT_SIZE))
    return torch.cat([_log_mel(block, spectrum_input) for block in torch.split(windows_RS, _BLOCK)])


def _log_mel(windows_RS: Tensor, spectrum_input: Tensor) -> Tensor:
    """Filter bank of some windows; `spectrum_input` is scratch space whose columns behind the window are zero."""
    centred_RS = windows_RS - windows_RS.mean(dim=1, keepdim=True)
    shaped = spectrum_input[: windows_RS.shape[0]]
    weakened_RS = centred_RS * _PREEMPHASIS  # rounded on its own, as in Kaldi's port, not fused with the subtraction
    torch.sub(centred_RS[:, 1:], weakened_RS[:, :-1], out=shaped[:, 1:WINDOW])
    torch.sub(centred_RS[:, 0], weakened_RS[:, 0], out=shaped[:, 0])  # the first sample is its own predecessor
    shaped[:, :WINDOW] *= _povey_window(windows_RS.dtype)
    spectrum_RK = torch.fft.rfft(shaped)
    power_RK = spectrum_RK.real.square().addcmul_(spectrum_RK.imag, spectrum_RK.imag)
    mel_RM: Tensor = power_RK @ _mel_matrix(windows_RS.dtype)
    return mel_RM.clamp_min_(_FLOOR).log_()


def sound_fbank(waveform_S: Tensor) -> Tensor:
    """Filter bank of every row that covers some of the waveform: R = ceil(S / 160), the last rows end in silence."""
    num_rows = -(-waveform_S.shape[-1] // SHIFT)
    silence = num_rows * SHIFT + WINDOW - SHIFT - waveform_S.shape[-1]
    return kaldi_fbank(functional.pad(waveform_S, (0, silence))) if num_rows else waveform_S.new_zeros((0, MEL_BINS))


def padded_fbank(waveform_S: Tensor, *, seconds: float = 30.0) -> Tensor:
    """Filter bank of the waveform cut or padded with zeros to `seconds`; equal to `kaldi_fbank` of the padded waveform.

    Only rows that cover sound are computed; a row of zeros is the constant `SILENCE`.
    """
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    num_rows = max(1 + (num_samples - WINDOW) // SHIFT, 0)
    covered_RM = sound_fbank(waveform_S[:num_samples])[:num_rows]
    return functional.pad(covered_RM, (0, 0, 0, num_rows - covered_RM.shape[0]), value=SILENCE)


@cache
def _povey_window(dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(WINDOW, periodic=False, dtype=dtype).pow(0.85)


@cache
def _mel_matrix(dtype: torch.dtype) -> Tensor:
    """Triangular filters [K, M], equally wide on Kaldi's mel scale; the Nyquist frequency has weight 0.

    Computed in float32 whatever `dtype` is, as Kaldi's port does. Bin 3 covers no frequency and stays empty.
    """
    with torch.inference_mode(False):
        low, high = _mel(torch.tensor([_LOW_HZ, SAMPLE_RATE_HZ / 2], dtype=torch.float64)).tolist()
        width = (high - low) / (MEL_BINS + 1)
        bin_M = torch.arange(MEL_BINS, dtype=torch.float32)  # whatever the default type is just now
        left_M, centre_M, right_M = (low + (bin_M + offset) * width for offset in (0.0, 1.0, 2.0))
        mel_K = _mel(torch.arange(_FFT_SIZE // 2, dtype=torch.float32) * (SAMPLE_RATE_HZ / _FFT_SIZE))[:, None]
        rising = (mel_K - left_M) / (centre_M - left_M)
        falling = (right_M - mel_K) / (right_M - centre_M)
        weights_KM = torch.minimum(rising, falling).clamp_min(0.0)
        return functional.pad(weights_KM, (0, 0, 0, 1)).to(dtype)


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hertz / 700.0).log()
