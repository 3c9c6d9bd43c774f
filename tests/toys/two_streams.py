"""A model with a motion stream beside the key frames and two videos a record, at toy size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.media.spec import FrameStream
from evqa.models.base import BuildOptions
from evqa.models.tiny import FrameEncoder, Tiny, TinyPreparer
from evqa.types import Clip, FrameChunks, Inputs, Part, Prepared, Turn

CHUNK = 5  # frames that are encoded at once


class MotionPreparer(TinyPreparer):
    """Carries the motion stream of every file along, unread."""

    def prepare(self, turns: Sequence[Turn], clips: Sequence[Clip]) -> Prepared:
        """Prepare as the base does."""
        return super().prepare(turns, clips) | {"motion": [clip.motion for clip in clips]}

    def collate(self, items: Sequence[Prepared]) -> Inputs:
        """Collate as the base does; streams are those of all files in a row."""
        streams = {"motion": tuple(motion for item in items for motion in item["motion"])}
        return replace(super().collate(items), streams=streams)


class TwoStreams(Tiny):
    """Each file's tokens: key frames and sound, then one token for the motion of all frames."""

    max_files: ClassVar[int] = 2

    def __init__(self, options: BuildOptions, *, width: Annotated[int, "4 <= width"] = 16, stride: int = 1) -> None:
        super().__init__(options, width=width)
        every = FrameSampling(policy="all", stride=stride)
        motion = FrameStream(sampling=every, resize=Resize(mode="square", size=16)) if options.frames else None
        self.preparer = MotionPreparer(replace(self.preparer.clip, motion=motion), max_bytes=1024)
        self.motion = FrameEncoder(width) if options.frames else None

    def parts(self) -> tuple[Part, ...]:
        """The base's parts and the motion encoder, under a name of its own."""
        return (*super().parts(), *([Part(name="motion", prefixes=("motion",))] if self.motion else []))

    def _media_tokens(self, inputs: Inputs) -> list[Tensor]:
        files = zip(super()._media_tokens(inputs), inputs.streams["motion"], strict=True)
        return [torch.cat([tokens, *self._motion_token(stream)]) for tokens, stream in files]

    def _motion_token(self, stream: FrameChunks | None) -> list[Tensor]:
        """Take the mean over all frames, chunk by chunk."""
        if stream is None or self.motion is None:
            return []
        device = self.trunk.position.weight.device
        total_D = sum(self.motion(chunk.to(device)).sum(0) for chunk in stream.chunks(CHUNK))
        return [(total_D / stream.num_frames)[None]]
