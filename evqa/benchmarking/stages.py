"""Our own reading of a clip, stage by stage: the parts of `read_clip` with a clock between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evqa.media.clip import ClipSpec, audio_tracks, first_sound
from evqa.media.container import choose_video, open_container
from evqa.media.demux import Track, demux
from evqa.media.fbank import INT16_SCALE, sound_fbank
from evqa.media.limits import Budget
from evqa.media.packets import PacketFrames

Clock = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class StagedClip:
    """What was read, and the numbers of the frames."""

    numbers: list[int]
    frames_FHWC: Tensor | None
    sound: Tensor | None


def read_in_stages(path: Path, spec: ClipSpec, clock: Clock) -> StagedClip:
    """Read a file with picture or sound as `read_clip` does (reader `packets`), charging each stage to the clock."""
    budget = Budget(path, spec.limits)
    video, sounds = None, list[Track]()
    with ExitStack() as stack:
        with clock("open"):
            container = stack.enter_context(open_container(budget))
            if spec.frames is not None and (stream := choose_video(container)) is not None:
                video = Track(stream, horizon_seconds=spec.frames.sampling.horizon_seconds)
            if spec.audio is not None:
                sounds = audio_tracks(container, spec.audio)
            demux(container, [*([] if video is None else [video]), *sounds], budget)
        numbers, frames = ([], None) if video is None else _pictures(video, spec, budget, clock)
        sound = _sound(sounds, spec, budget, clock) if sounds else None
    return StagedClip(numbers=numbers, frames_FHWC=frames, sound=sound)


def _pictures(track: Track, spec: ClipSpec, budget: Budget, clock: Clock) -> tuple[list[int], Tensor]:
    assert spec.frames is not None
    with clock("open"):
        reader = PacketFrames(track, budget)
        end, fps = reader.end_seconds, reader.average_fps
        numbers = spec.frames.sampling.choose(reader.seconds_N, end_seconds=end, average_fps=fps)
        numbers = [min(number, len(reader.seconds_N) - 1) for number in numbers]
    resized: dict[int, Tensor] = {}
    shots = iter(reader.frames(sorted(set(numbers))))
    while True:
        with clock("decode"):
            shot = next(shots, None)
        if shot is None:
            break
        with clock("resize"):
            resized[shot.number] = spec.frames.resize.apply(torch.from_numpy(shot.rgb_HWC))
    with clock("resize"):
        return numbers, torch.stack([resized[number] for number in numbers])


def _sound(tracks: Sequence[Track], spec: ClipSpec, budget: Budget, clock: Clock) -> Tensor:
    assert spec.audio is not None
    with clock("audio"):
        pcm_S = first_sound(tracks, budget, spec.audio).pcm_S
        waveform_S = spec.audio.cut(pcm_S).float() / INT16_SCALE
    with clock("fbank") if spec.audio_as == "fbank" else nullcontext():
        return sound_fbank(waveform_S) if spec.audio_as == "fbank" else waveform_S
