"""The CPU side of VideoLLaMA2: one clip and its texts -> tensors, and a list of those -> a batch.

# B batch, N items of all samples in a row, F frames, H height, W width, R filter-bank rows, M mel bins, T text tokens
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from evqa.errors import ConfigError, PromptError
from evqa.media.fbank import MEL_BINS, SHIFT, SILENCE, WINDOW, sound_fbank
from evqa.media.sampling import FrameSampling
from evqa.media.spec import ClipSpec
from evqa.models.base import Preparer
from evqa.models.splice import PLACEHOLDER, collate_texts, prepare_text
from evqa.models.videollama2.dims import Dims
from evqa.prompts.chat import Chat
from evqa.types import SAMPLE_RATE_HZ, Clip, Inputs, Prepared, Turn

EXACT_SECONDS = 30.0  # the original pads all sound to this length


def num_rows(seconds: float) -> int:
    """Filter-bank rows of a sound of this length whose windows lie wholly inside."""
    return max(0, 1 + (round(seconds * SAMPLE_RATE_HZ) - WINDOW) // SHIFT)


def pad_rows(fbank_RM: Tensor, rows: int) -> Tensor:
    """Cut or extend a filter bank to a number of rows, with the rows that digital silence has."""
    return functional.pad(fbank_RM[:rows], (0, 0, 0, max(0, rows - len(fbank_RM))), value=SILENCE)


class Videollama2Preparer(Preparer):
    """Frames stay uint8; sound becomes a log-mel filter bank; text becomes Qwen2 chat ids with one placeholder.

    exact: as the original: 30 s of filter bank rounded to bfloat16, silence where there is no sound, an odd last frame
        kept for the connector to drop.
    needs_pairs: whether the connector drops an odd last frame; otherwise the last frame is repeated.
    row_step: rows of one step of the audio encoder.
    """

    chat: Chat

    def __init__(
        self,
        clip: ClipSpec,
        *,
        chat: Chat,
        row_step: int,
        needs_pairs: bool,
        exact: bool,
    ) -> None:
        self.clip, self.chat = clip, chat
        self.row_step, self.needs_pairs, self.exact = row_step, needs_pairs, exact

    def prepare(self, turns: Sequence[Turn], clips: Sequence[Clip]) -> Prepared:
        """Prepare one sample. A missing picture or sound yields no tokens (exact: missing sound is 30 s of zeros).

        Raises:
            PromptError: as `Chat.encode`; nothing is left of a single frame.
        """
        return prepare_text(self.chat.encode(turns, [[PLACEHOLDER]] * len(clips))) | {
            "frames": [self._frames(clip) for clip in clips],
            "fbanks": [self._fbank(clip) if self.clip.audio else None for clip in clips],
        }

    def num_frames(self, count: int) -> int:
        """Frames that the vision tower gets of a clip with this many."""
        return count + count % 2 if self.needs_pairs and not self.exact else count

    def longest_rows(self) -> int:
        """Filter-bank rows of a sound that fills the audio window."""
        window = self.clip.audio
        if window is None:
            return 0
        longest = {"whole": EXACT_SECONDS, "clips_8x2": 16.0}.get(window.policy, window.seconds)
        return num_rows(EXACT_SECONDS if self.exact else longest)

    def _frames(self, clip: Clip) -> Tensor | None:
        frames_FHWC = clip.frames_FHWC
        if frames_FHWC is None or not self.clip.frames or not len(frames_FHWC):
            return None
        if len(frames_FHWC) == 1 and self.needs_pairs and self.exact:
            raise PromptError(
                "it has a single frame, which the connector drops (model.exact=true, as the original); with "
                "model.exact=false the frame is repeated"
            )
        missing = self.num_frames(len(frames_FHWC)) - len(frames_FHWC)
        return torch.cat([frames_FHWC, frames_FHWC[-1:]]) if missing else frames_FHWC

    def _fbank(self, clip: Clip) -> Tensor | None:
        fbank_RM = clip.fbank_RM
        if fbank_RM is None and clip.waveform_S is not None:
            fbank_RM = sound_fbank(clip.waveform_S)
        if self.exact:
            silence = torch.zeros(0, MEL_BINS, dtype=torch.float32)
            return pad_rows(silence if fbank_RM is None else fbank_RM, num_rows(EXACT_SECONDS)).bfloat16()
        if fbank_RM is None or not len(fbank_RM):
            return None
        # Sound that is too short for one step is filled up; otherwise rows that do not fill a step are left out.
        return pad_rows(fbank_RM, max(self.row_step, len(fbank_RM) // self.row_step * self.row_step))

    def collate(self, items: Sequence[Prepared]) -> Inputs:
        """Join frames end to end, pad sound and text on the right; counts are those of all files in a row."""
        inputs = collate_texts(items, pad=self.chat.pad)
        frames = [frames_FHWC for item in items for frames_FHWC in item["frames"]]
        fbanks = [fbank_RM for item in items for fbank_RM in item["fbanks"]]
        tensors = dict(inputs.tensors)
        if shown := [frames_FHWC for frames_FHWC in frames if frames_FHWC is not None]:
            tensors["frames_NHWC"] = torch.cat(shown)
        if sounds := [fbank_RM for fbank_RM in fbanks if fbank_RM is not None]:
            tensors["fbank_NRM"] = pad_sequence(sounds, batch_first=True)
        host = {
            "num_frames": tuple(0 if one is None else len(one) for one in frames),
            "num_rows": tuple(0 if one is None else len(one) for one in fbanks),
        }
        return Inputs(tensors=tensors, host=inputs.host | host)


def check_pairs(sampling: FrameSampling | None, dims: Dims, *, exact: bool) -> None:
    """Warn where the connector, which takes frames in pairs, gets an odd number.

    Raises:
        ConfigError: none would be left.
    """
    if sampling is None or sampling.count % 2 == 0 or dims.connector_padding:
        return
    if exact and sampling.count == 1:
        raise ConfigError(["frames.count=1: with model.exact=true the connector drops an odd frame, so none is left"])
    done = "drops the last one (model.exact=true, as the original)" if exact else "repeats the last one"
    message = f"frames.count={sampling.count}: the connector takes frames in pairs and {done}"
    warnings.warn(f"{message}; an even number wastes nothing", stacklevel=3)
