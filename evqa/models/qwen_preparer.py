"""The CPU side of Qwen's models: conversations with frames as patches and, for Omni, sound as log-mel rows.

# B batch, T tokens, C chunks of all sounds of a batch, R mel rows (10 ms each), M mel bins, S audio samples
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from evqa.media.spec import ClipSpec
from evqa.models.base import Preparer
from evqa.models.patches import Patches, collate_patches
from evqa.models.positions import Grid, collate_positions, rotary_positions
from evqa.models.splice import collate_texts, places_of, prepare_text
from evqa.prompts.chat import Chat
from evqa.types import Clip, Inputs, Prepared, Turn


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Ids around a stretch of media, and the one that stands for each of its tokens."""

    start: int
    end: int
    pad: int

    def around(self, count: int) -> list[int]:
        """Mark a stretch of `count` tokens."""
        return [self.start, *[self.pad] * count, self.end]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How a model is told when its frames were taken.

    written: as text before every grid step, which then is a video of its own (Qwen3-VL). Otherwise by position:
    times_per_second positions a second. seconds_per_grid: replaces the time that one grid step really spans.
    """

    written: bool = False
    times_per_second: float = 0.0
    seconds_per_grid: float | None = None


@dataclass(frozen=True, kw_only=True)
class AudioInput:
    """Sound as a model takes it. to_mel: waveform [S] -> log-mel rows [R, M]; num_tokens: of so many rows.

    chunk: rows that its encoder reads at a time.
    """

    marks: Marks
    to_mel: Callable[[Tensor], Tensor]
    num_tokens: Callable[[int], int]
    hop: int
    chunk: int


@dataclass
class QwenMedia:
    """What the files of one record give beside ids: patches and their grids, mel rows."""

    grids: list[Grid] = field(default_factory=list)
    seconds_per_step: list[float] = field(default_factory=list)
    videos: list[Prepared] = field(default_factory=list)
    sounds: list[Tensor] = field(default_factory=list)


class QwenPreparer(Preparer):
    """Every file is one stream: its frames, then its sound; what a file lacks yields no tokens."""

    chat: Chat

    def __init__(
        self,
        clip: ClipSpec,
        *,
        chat: Chat,
        patches: Patches,
        video: Marks,
        timing: Timing,
        audio: AudioInput | None = None,
    ) -> None:
        self.clip, self.chat, self.patches = clip, chat, patches
        self.video, self.timing, self.audio = video, timing, audio

    def prepare(self, turns: Sequence[Turn], clips: Sequence[Clip]) -> Prepared:
        """Write one conversation with the ids of its media, and count positions in time, height and width."""
        media = QwenMedia()
        words = prepare_text(self.chat.encode(turns, self.streams(turns, clips, media)))
        position_T3 = rotary_positions(
            words["ids_T"],
            video=self.video.pad,
            grids=media.grids,
            seconds_per_step=media.seconds_per_step,
            times_per_second=self.timing.times_per_second,
        )
        return words | {"position_T3": position_T3, "videos": media.videos, "sounds": media.sounds}

    def streams(self, turns: Sequence[Turn], clips: Sequence[Clip], media: QwenMedia) -> list[list[int]]:
        """Return the ids that stand in every place of media, and put what they stand for into `media`."""
        del turns
        return [[*self.frames(clip, media), *self._sound(clip, media)] for clip in clips]

    def collate(self, items: Sequence[Prepared]) -> Inputs:
        """Pad text on the right; patches of all samples lie in one row, and so do their sounds, in chunks."""
        inputs = collate_texts(items, pad=self.chat.pad)
        text_BT, lengths_B = inputs["text_BT"], torch.tensor(inputs.host["lengths"])
        tensors = inputs.tensors | {
            "mask_BT": torch.arange(text_BT.shape[1]) < lengths_B.unsqueeze(1),
            "answer_B": torch.tensor(inputs.host["answers"]),
            **collate_positions(items),
        }
        patches = collate_patches([one for item in items for one in item["videos"]])
        if patches.tensors:
            num_tokens = len(patches["patches_NP"]) // self.patches.merge**2
            tensors["frame_places_2N"] = places_of(self.video.pad, text_BT, num_tokens=num_tokens)
        sounds = self._collate_sounds([mel_RM for item in items for mel_RM in item["sounds"]], text_BT)
        return Inputs(tensors=tensors | patches.tensors | sounds.tensors, host=inputs.host | patches.host | sounds.host)

    def _collate_sounds(self, sounds: Sequence[Tensor], text_BT: Tensor) -> Inputs:
        audio = self.audio
        if audio is None or not sounds:
            return Inputs()
        num_tokens = sum(audio.num_tokens(len(mel_RM)) for mel_RM in sounds)
        return Inputs(
            tensors={
                "mel_CRM": pad_sequence([one for mel_RM in sounds for one in mel_RM.split(audio.chunk)], True),
                "sound_places_2N": places_of(audio.marks.pad, text_BT, num_tokens=num_tokens),
            },
            host={"mel_rows": tuple(map(len, sounds))},
        )

    def frames(self, clip: Clip, media: QwenMedia) -> list[int]:
        """Return the ids of a clip's frames; none where it has no frames."""
        if clip.frames_FHWC is None:
            return []
        video = self.patches.prepare(clip, seconds_per_grid=self.timing.seconds_per_grid)
        media.videos.append(video)
        time, rows, columns = self.patches.token_grid(video["grid_3"])
        if self.timing.written:
            return self._steps_with_times(clip, (time, rows, columns), media)
        media.grids.append((time, rows, columns))
        media.seconds_per_step.append(video["seconds_per_grid"])
        return self.video.around(time * rows * columns)

    def _steps_with_times(self, clip: Clip, grid: Grid, media: QwenMedia) -> list[int]:
        """Every grid step stands behind its time in seconds, with marks of its own.

        The marks stand around every step and not around the whole video: so the model was trained (transformers 4.57);
        transformers 5 leaves one more mark at either end (vllm-project/vllm#46817).
        """
        time, rows, columns = grid
        media.grids += [(1, rows, columns)] * time
        media.seconds_per_step += [0.0] * time
        times = [self.chat.plain(f"<{seconds:.1f} seconds>") for seconds in step_times(clip, self.patches.temporal)]
        return [token for words in times for token in (*words, *self.video.around(rows * columns))]

    def _sound(self, clip: Clip, media: QwenMedia) -> list[int]:
        audio, waveform_S = self.audio, clip.waveform_S
        if audio is None or waveform_S is None or not audio.num_tokens(-(-len(waveform_S) // audio.hop)):
            return []
        mel_RM = audio.to_mel(waveform_S)
        media.sounds.append(mel_RM)
        return audio.marks.around(audio.num_tokens(len(mel_RM)))


def step_times(clip: Clip, step: int) -> list[float]:
    """Return the middle of the first and last frame of every grid step of `step` frames, in seconds."""
    assert clip.frames_FHWC is not None
    known = clip.seconds_F is not None
    seconds = clip.seconds_F.tolist() if known else [float(i) for i in range(len(clip.frames_FHWC))]  # type: ignore[union-attr]
    seconds += seconds[-1:] * (-len(seconds) % step)
    return [(seconds[i] + seconds[i + step - 1]) / 2 for i in range(0, len(seconds), step)]
