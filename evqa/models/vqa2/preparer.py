"""The CPU side of VQA²: conversations with places for frames and motion, frames as bytes, motion as a stream.

# N items of all files in a row, T text tokens, H height, W width, C channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from evqa.errors import PromptError
from evqa.media.spec import ClipSpec
from evqa.models.base import Preparer
from evqa.models.splice import PLACEHOLDER, collate_texts, prepare_text
from evqa.models.vqa2.images import num_image_tokens, packed_size
from evqa.prompts.chat import Chat
from evqa.types import MEDIA, Clip, ImageGrid, Inputs, Prepared, Turn


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """What decides on the number of tokens. side: patches of a tile's side. frame: tokens of a video's frame.

    overview: whether that of a still image counts. motion: tokens of a motion frame where it has a place of its own.
    limit: longest whole conversation.
    """

    side: int
    frame: int
    overview: bool
    motion: int
    limit: int

    def picture(self, clip: Clip) -> int:
        """Count the tokens of a file's frames, or of its image."""
        if clip.frames_FHWC is None or not len(clip.frames_FHWC):
            return 0
        if clip.image is not None:
            return self._image(clip.image)
        return len(clip.frames_FHWC) * self.frame + 1

    def _image(self, grid: ImageGrid) -> int:
        if not all(packed_size(grid, self.side)):
            raise PromptError(
                f"the image of {grid.width}x{grid.height} pixels is too narrow: no row or column of patches is left of "
                "it; cut it into pieces, or give a less narrow one"
            )
        return num_image_tokens(grid, self.side, overview=self.overview)

    def check(self, num_text: int, clips: Sequence[Clip], *, per_file: int) -> None:
        """Refuse a conversation that is too long; the original cuts its end off, question and answer with it.

        Raises:
            PromptError: with the counts, and what to do; an image of which nothing is left.
        """
        pictures = sum(map(self.picture, clips))
        motion = sum(map(num_motion, clips)) * (self.motion if per_file == 2 else 1)
        if num_text + pictures + motion > self.limit:
            raise PromptError(
                f"the conversation takes {num_text + pictures + motion:,} tokens ({pictures:,} of pictures, {motion:,} "
                f"of motion, {num_text:,} of text), more than model.max_tokens={self.limit}. Read less (a larger "
                "model.motion.stride, frames.policy=uniform, a shorter clip, a smaller image), or raise "
                "model.max_tokens."
            )


class Vqa2Preparer(Preparer):
    """A question has one place a file, for frames and motion in a row, or two: frames, then motion."""

    chat: Chat

    def __init__(self, clip: ClipSpec, *, chat: Chat, counts: TokenCounts) -> None:
        self.clip, self.chat, self.counts = clip, chat, counts

    def prepare(self, turns: Sequence[Turn], clips: Sequence[Clip]) -> Prepared:
        """Prepare one sample. Where a file has no motion (a still image) its place stays empty."""
        per_file = places_per_file(turns, clips)
        text = prepare_text(self.chat.encode(turns, [[PLACEHOLDER]] * (per_file * len(clips))))
        self.counts.check(len(text["ids_T"]), clips, per_file=per_file)
        return text | {
            "notes": (*text["notes"], *unread_motion(self.clip, per_file)),
            "per_file": per_file,
            "frames": [clip.frames_FHWC for clip in clips],
            "grids": [clip.image for clip in clips],
            "motion": [clip.motion for clip in clips],
        }

    def collate(self, items: Sequence[Prepared]) -> Inputs:
        """Join frames end to end; a file that several samples have read together stands in the batch once.

        files: the number of every sample's files among them, sample by sample.
        """
        inputs = collate_texts(items, pad=self.chat.pad)
        files, numbers = _distinct(items)
        frames, grids, motion = ([file[at] for file in files] for at in range(3))
        tensors = dict(inputs.tensors)
        if shown := [frames_FHWC for frames_FHWC in frames if frames_FHWC is not None and len(frames_FHWC)]:
            tensors["frames_NHWC"] = torch.cat(shown)
        host = {
            "per_file": tuple(item["per_file"] for item in items),
            "num_files": tuple(len(item["frames"]) for item in items),
            "files": numbers,
            "num_frames": tuple(0 if one is None else len(one) for one in frames),
            "image_height": tuple(0 if grid is None else grid.height for grid in grids),  # 0: a video
            "image_width": tuple(0 if grid is None else grid.width for grid in grids),
        }
        streams = {"motion": tuple(motion)}
        return replace(inputs, tensors=tensors, host=inputs.host | host, streams=streams)


def _distinct(items: Sequence[Prepared]) -> tuple[list[tuple[Any, ...]], tuple[int, ...]]:
    """List frames, grid and motion of every file once, and the number of each sample's files in that list."""
    named = [file for item in items for file in zip(item["frames"], item["grids"], item["motion"], strict=True)]
    keys = [tuple(map(id, file)) for file in named]
    once = dict(zip(keys, named, strict=True))
    numbers = {key: number for number, key in enumerate(once)}
    return list(once.values()), tuple(numbers[key] for key in keys)


def places_per_file(turns: Sequence[Turn], clips: Sequence[Clip]) -> int:
    """Return 2 where a conversation keeps a place for each file's frames and one for its motion, else 1 for both."""
    return 2 if sum(turn.text.count(MEDIA) for turn in turns) == 2 * len(clips) else 1


def unread_motion(spec: ClipSpec, per_file: int) -> tuple[str, ...]:
    """Say that the motion's own places stay empty, where no motion is read."""
    if per_file == 1 or spec.motion is not None:
        return ()
    return ("no motion was read (model.motion=null); its place in the question is empty",)


def num_motion(clip: Clip) -> int:
    """Count a file's motion tokens, one a frame."""
    return 0 if clip.motion is None else clip.motion.num_frames
