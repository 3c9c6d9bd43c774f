"""A batch of made-up clips of usual length, for any model, without files.

# F frames, H height, W width, C channels, S audio samples
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from evqa.media.fbank import sound_fbank
from evqa.media.spec import ClipSpec, FrameStream
from evqa.prompts.stalling import STALLING
from evqa.training.batches import Collate, Sample
from evqa.training.build import BuiltModel
from evqa.training.conversations import conversation
from evqa.types import MEDIA, SAMPLE_RATE_HZ, Batch, Clip, LabelScale, Prepared, Record, Turn

HEIGHT, WIDTH = 854, 480  # of SnapUGC's videos, mostly
WHOLE_SECONDS = 10.0  # of a video whose whole sound is read
TITLE = "Our dog learns a new trick in the garden today"
DESCRIPTION = "He needed only three days for this one, and now he wants a treat each time. #dog #dogsoftiktok #pets"
BYTES_PER_TOKEN = 4  # of text, where the checkpoint's tokenizer is not at hand
UNIT = 0.5  # the label, in 0-1


@dataclass(frozen=True)
class MotionFrames:
    """A motion stream that lies in memory."""

    frames_FHWC: Tensor

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.frames_FHWC)

    @property
    def seconds_N(self) -> Tensor:
        """One frame after the other at 30 frames a second."""
        return torch.arange(self.num_frames, dtype=torch.float64) / 30

    @property
    def height(self) -> int:
        """Height of a frame."""
        return self.frames_FHWC.shape[1]

    @property
    def width(self) -> int:
        """Width of a frame."""
        return self.frames_FHWC.shape[2]

    def chunks(self, size: int, *, overlap: int = 0) -> Iterator[Tensor]:
        """Yield the frames in chunks, of which `overlap` were in the chunk before."""
        for start in range(0, max(self.num_frames - overlap, 1), size - overlap):
            yield self.frames_FHWC[start : start + size]

    def close(self) -> None:
        """Nothing is held open."""


def made_batch(built: BuiltModel, scale: LabelScale, *, batch_size: int) -> Batch:
    """Collate so many samples of usual length, all alike, with their labels."""
    preparer = built.model.preparer
    sample = _sample(built, scale, made_clip(preparer.clip))
    return Collate(preparer)([replace(sample, id=f"made{index}") for index in range(batch_size)])


def varied_batch(built: BuiltModel, scale: LabelScale, *, seeds: Sequence[int]) -> Batch:
    """Collate samples of usual length whose pictures and sound are noise, another one for each seed."""
    spec = built.model.preparer.clip
    clips = (made_clip(spec, torch.Generator().manual_seed(seed)) for seed in seeds)
    return batch_of(built, scale, clips)


def batch_of(built: BuiltModel, scale: LabelScale, clips: Iterable[Clip]) -> Batch:
    """Collate clips, with a title and a description of usual length each."""
    return Collate(built.model.preparer)([_sample(built, scale, clip) for clip in clips])


def _sample(built: BuiltModel, scale: LabelScale, clip: Clip) -> Sample:
    return Sample(id="made", label=scale.from_unit(UNIT), unit=UNIT, inputs=_prepared(built, clip))


def made_clip(spec: ClipSpec, generator: torch.Generator | None = None) -> Clip:
    """Make a clip as `spec` asks for it: of zeros, or with a generator of noise."""
    streams: dict[str, Any] = {}
    if spec.frames is not None:
        frames_FHWC = _frames(spec.frames, generator)
        streams |= {"frames_FHWC": frames_FHWC, "seconds_F": torch.arange(len(frames_FHWC)).double()}
    if spec.motion is not None:
        streams["motion"] = MotionFrames(_frames(spec.motion, generator))
    if spec.audio is not None:
        seconds = {"whole": WHOLE_SECONDS, "clips_8x2": 16.0}.get(spec.audio.policy, spec.audio.seconds)
        waveform_S = torch.zeros(round(seconds * SAMPLE_RATE_HZ))
        if generator is not None:
            loudness = 0.3 * torch.rand(1, generator=generator)
            waveform_S = loudness * torch.randn(waveform_S.shape, generator=generator).clamp(-3, 3)
        is_fbank = spec.audio_as == "fbank"
        streams |= {"fbank_RM": sound_fbank(waveform_S)} if is_fbank else {"waveform_S": waveform_S}
    return Clip(**streams, seconds=WHOLE_SECONDS, num_frames=round(30 * WHOLE_SECONDS))


def _frames(stream: FrameStream, generator: torch.Generator | None) -> Tensor:
    """Make frames [F, H, W, 3]: black ones, or coloured patches of a 16th of a side, others in each frame."""
    size, count = stream.resize.target_hw(HEIGHT, WIDTH), stream.sampling.usual_count
    if generator is None:
        return torch.zeros(1, *size, 3, dtype=torch.uint8).repeat(count, 1, 1, 1)
    brightest = int(torch.randint(32, 256, (1,), generator=generator))
    patches_FCHW = torch.randint(0, brightest, (count, 3, 16, 16), generator=generator).float()
    return functional.interpolate(patches_FCHW, size).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _prepared(built: BuiltModel, clip: Clip) -> Prepared:
    head, preparer = built.head, built.model.preparer
    texts = dict.fromkeys(built.prompt.texts, DESCRIPTION) | {"title": TITLE, "description": DESCRIPTION}
    if STALLING in texts:
        texts[STALLING] = "120+45"
    record = Record(id="made", paths=(Path("made.mp4"),), texts=texts, label=None)
    turns = conversation(record, [clip], prompt=built.prompt, wording=head.wording, unit=UNIT)
    if preparer.chat.is_stand_in:
        system = getattr(preparer.chat, "system", None)
        own = [] if system is None or turns[0].role == "system" else [Turn(role="system", text=system)]
        turns = tuple(shortened([*own, *turns]))
    if not head.gives_scores:
        turns = (*turns, Turn(role="assistant", text=TITLE, learn=True))
    return preparer.prepare(turns, [clip])


def shortened(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Shorten text to as many bytes as it would have tokens; places for media stay, and words that are learned."""
    for turn in turns:
        if turn.learn:
            yield turn
            continue
        pieces = [piece if piece == MEDIA else piece[::BYTES_PER_TOKEN] for piece in re.split(f"({MEDIA})", turn.text)]
        yield replace(turn, text="".join(pieces))
