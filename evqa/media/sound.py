"""Sound as 16 kHz mono int16 samples, equal to the ffmpeg program's `-ac 1 -ar 16000 -f s16le` to one step.

# S samples at 16 kHz
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import Any

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray
from torch import Tensor

from evqa.errors import MediaError
from evqa.media.audio import AudioWindow
from evqa.media.demux import Track
from evqa.media.layout import is_safe_to_decode
from evqa.media.limits import Budget
from evqa.media.priming import drop_as_published
from evqa.types import SAMPLE_RATE_HZ

_JOINED_SAMPLES = 4000
_JUMP_SECONDS = 0.1  # less is a matter of rounded or unsteady time stamps
_NOTICEABLE_SECONDS = 0.25  # holes that add up to less stay closed, as the published code leaves all of them
_NEW_START_SECONDS = 1.0


class Mono16k:
    """Collects frames of any rate, layout and sample format as mono int16 at 16 kHz.

    Mixing down to int16 (not to float) is deliberate: swresample makes a stereo sound louder by sqrt(2) in float.
    A format that changes in the middle starts a new resampler, as the ffmpeg program does.
    """

    def __init__(self, budget: Budget, *, order: tuple[int, ...] | None = None) -> None:
        """order: of the channels, where a decoder gives them out in another one than FFmpeg's (see `layout`)."""
        self._budget = budget
        self._order = order
        self._resampler: AudioResampler | None = None
        self._pieces: list[NDArray[np.int16]] = []
        self.num_samples = 0

    def add(self, frame: AudioFrame) -> None:
        """Resample one decoded frame."""
        seconds = frame.samples / max(frame.sample_rate, 1)
        self._budget.check_seconds(self.num_samples / SAMPLE_RATE_HZ + seconds, what="sound")
        frame = frame if self._order is None else _reordered(frame, self._order)
        if self._resampler is None:
            self._resampler = _resampler()
        try:
            resampled = self._resampler.resample(frame)
        except ValueError:  # not the format that the resampler was set up for
            self._flush()
            self._resampler = _resampler()
            resampled = self._resampler.resample(frame)
        self._keep(resampled)

    def add_silence(self, seconds: float, *, most: int | None) -> None:
        """Add zeros, up to `most` samples in all where given."""
        self._budget.check_seconds(self.num_samples / SAMPLE_RATE_HZ + seconds, what="sound")
        self._flush()
        num_samples = round(seconds * SAMPLE_RATE_HZ)
        if most is not None:
            num_samples = min(num_samples, max(most - self.num_samples, 0))
        self._pieces.append(np.zeros(num_samples, np.int16))
        self.num_samples += num_samples

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


def _reordered(frame: AudioFrame, order: tuple[int, ...]) -> AudioFrame:
    """Put channels into FFmpeg's order, which is what the frame's layout says already."""
    if frame.layout.nb_channels != len(order):
        return frame
    samples = frame.to_ndarray()
    if frame.format.is_planar:
        samples = samples[list(order)]
    else:
        samples = samples.reshape(-1, len(order))[:, order].reshape(1, -1)
    contiguous: Any = np.ascontiguousarray(samples)
    ordered = AudioFrame.from_ndarray(contiguous, format=frame.format.name, layout=frame.layout.name)
    ordered.sample_rate, ordered.pts, ordered.time_base = frame.sample_rate, frame.pts, frame.time_base
    return ordered


class Sound:
    """The decoded sound of one track.

    pcm_S: int16 mono 16 kHz, empty where nothing decodes. start_seconds: the first sample's time in the container.
    notes: sentences about damage and holes.
    """

    def __init__(self, track: Track, budget: Budget, *, window: AudioWindow) -> None:
        """Decode a track's packets, as far as the window needs them."""
        self.notes: list[str] = []
        self.start_seconds: float | None = None
        self._track = track
        self._budget = budget
        self._window = window
        self._collected = Mono16k(budget, order=track.channels.order if track.channels else None)
        self._expected = 0.0  # where the next frame should begin, in the container's time
        self._hole_seconds = self._open_seconds = 0.0
        try:
            self._collect()
            self.pcm_S = self._collected.finish()[: window.num_samples]
        except MediaError:  # a limit
            raise
        except (av.FFmpegError, ValueError):  # a channel layout, rate or sample format that cannot be converted
            self.notes.append("the sound cannot be converted to 16 kHz mono")
            self.pcm_S = torch.empty(0, dtype=torch.int16)
        self._note_holes()

    def _collect(self) -> None:
        most = self._window.num_samples
        for frame, following in pairwise(chain(self._frames(), [None])):
            assert frame is not None
            self._bridge(frame, following)
            self._collected.add(frame)
            if most is not None and self._collected.num_samples >= most:
                return

    def _bridge(self, frame: AudioFrame, following: AudioFrame | None) -> None:
        """Note a hole before a frame, and fill it; a time stamp that the next frame does not confirm is no hole."""
        seconds = frame.samples / max(frame.sample_rate, 1)
        time, after = self._time(frame), None if following is None else self._time(following)
        if time is None:
            time = self._expected
        elif after is not None and after >= time and abs(time - self._expected) >= _JUMP_SECONDS:
            self._add_hole(time - self._expected)
        self._expected = time + seconds

    def _add_hole(self, seconds: float) -> None:
        """Fill holes when they have added up to what matters; a step back makes up for one, or is a new start."""
        self._open_seconds = 0.0 if seconds < -_NEW_START_SECONDS else self._open_seconds + seconds
        if self._open_seconds < _NOTICEABLE_SECONDS:
            return
        if self._window.keeps_times:
            self._collected.add_silence(self._open_seconds, most=self._window.num_samples)
        self._hole_seconds += self._open_seconds
        self._open_seconds = 0.0

    def _note_holes(self) -> None:
        if self._hole_seconds:
            end = "are read as silence" if self._window.keeps_times else "are left out, as in the published code"
            self.notes.append(f"the sound has holes of {self._hole_seconds:.1f} s together, which {end}")

    def _time(self, frame: AudioFrame) -> float | None:
        return None if frame.pts is None else float(frame.pts * self._track.stream.time_base)

    def _frames(self) -> Iterator[AudioFrame]:
        codec = self._track.stream.codec_context
        if codec is None:
            self.notes.append("the audio track is in a format that no decoder here reads")
            return
        if not is_safe_to_decode(codec):
            self.notes.append("the audio track lists its channels in a way that only PyAV 19 reads (Python 3.12)")
            return
        codec.thread_count = 1
        if self._track.packets:
            drop_as_published(self._track.packets[0], self._track.stream)
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
                    self.start_seconds = self._expected = self._time(frame) or 0.0
                yield frame
        if num_damaged:
            self.notes.append(f"damaged places in the sound, skipped: {num_damaged}")
