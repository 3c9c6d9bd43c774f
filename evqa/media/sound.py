"""Sound as 16 kHz mono int16 samples, equal to the ffmpeg program's `-ac 1 -ar 16000 -f s16le` to one step.

# S samples at 16 kHz
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray
from torch import Tensor

from evqa.media.demux import Track
from evqa.media.limits import Budget
from evqa.types import SAMPLE_RATE_HZ

_JOINED_SAMPLES = 4000


class Mono16k:
    """Collects frames of any rate, layout and sample format as mono int16 at 16 kHz.

    Mixing down to int16 (not to float) is deliberate: swresample makes a stereo sound louder by sqrt(2) in float.
    A format that changes in the middle starts a new resampler, as the ffmpeg program does.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._resampler: AudioResampler | None = None
        self._pieces: list[NDArray[np.int16]] = []
        self.num_samples = 0

    def add(self, frame: AudioFrame) -> None:
        """Resample one decoded frame."""
        seconds = frame.samples / max(frame.sample_rate, 1)
        self._budget.check_seconds(self.num_samples / SAMPLE_RATE_HZ + seconds, what="sound")
        if self._resampler is None:
            self._resampler = _resampler()
        try:
            resampled = self._resampler.resample(frame)
        except ValueError:  # not the format that the resampler was set up for
            self._flush()
            self._resampler = _resampler()
            resampled = self._resampler.resample(frame)
        self._keep(resampled)

    def finish(self) -> Tensor:
        """The samples so far, int16."""
        self._flush()
        return torch.from_numpy(np.concatenate([np.empty(0, np.int16), *self._pieces]))

    def _flush(self) -> None:
        if self._resampler is not None:
            self._keep(self._resampler.resample(None))
            self._resampler = None

    def _keep(self, frames: Iterable[AudioFrame]) -> None:
        for frame in frames:
            samples = frame.to_ndarray()[0]
            self.num_samples += len(samples)
            self._pieces.append(samples)


def _resampler() -> AudioResampler:
    # joined output: a thousand small arrays would cost as much as the resampling
    return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ, frame_size=_JOINED_SAMPLES)


class Sound:
    """The decoded sound of one track.

    pcm_S: int16 mono 16 kHz, empty where nothing decodes. start_seconds: the first sample's time in the container.
    notes: sentences about damage.
    """

    def __init__(self, track: Track, budget: Budget, *, num_samples: int | None) -> None:
        """Decode a track's packets, stopping after `num_samples` where given."""
        self.notes: list[str] = []
        self.start_seconds: float | None = None
        self._track = track
        self._budget = budget
        collected = Mono16k(budget)
        try:
            for frame in self._frames():
                collected.add(frame)
                if num_samples is not None and collected.num_samples >= num_samples:
                    break
            self.pcm_S = collected.finish()[:num_samples]
        except av.FFmpegError:  # a channel layout or rate that cannot be converted
            self.notes.append("the sound cannot be converted to 16 kHz mono")
            self.pcm_S = torch.empty(0, dtype=torch.int16)

    def _frames(self) -> Iterator[AudioFrame]:
        codec = self._track.stream.codec_context
        if codec is None:
            self.notes.append("the audio track is in a format that no decoder here reads")
            return
        codec.thread_count = 1
        num_damaged = 0
        for packet in [*self._track.packets, None]:
            self._budget.check_time()
            try:
                frames = codec.decode(packet)
            except av.FFmpegError:
                num_damaged += packet is not None
                continue
            for frame in frames:
                if self.start_seconds is None and frame.pts is not None:
                    self.start_seconds = float(frame.pts * self._track.stream.time_base)
                yield frame
        if num_damaged:
            self.notes.append(f"damaged places in the sound, skipped: {num_damaged}")
