"""The CPU side of VideoLLaMA2: one clip and its texts -> tensors, and a list of those -> a batch.

# B batch, N items of all samples in a row, F frames, H height, W width, R filter-bank rows, M mel bins, T text tokens
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from evqa.media.clip import ClipSpec
from evqa.media.fbank import MEL_BINS, SHIFT, SILENCE, WINDOW, sound_fbank
from evqa.models.base import Preparer
from evqa.models.videollama2.chat import Chat
from evqa.prompts.prompt import Prompt
from evqa.types import SAMPLE_RATE_HZ, Answer, Clip, Prepared, Record

EXACT_SECONDS = 30.0  # the original pads all sound to this length


def num_rows(seconds: float) -> int:
    """Filter-bank rows of a sound of this length whose windows lie wholly inside."""
    return max(0, 1 + (round(seconds * SAMPLE_RATE_HZ) - WINDOW) // SHIFT)


def pad_rows(fbank_RM: Tensor, rows: int) -> Tensor:
    """Cut or extend a filter bank to a number of rows, with the rows that digital silence has."""
    return functional.pad(fbank_RM[:rows], (0, 0, 0, max(0, rows - len(fbank_RM))), value=SILENCE)


class Videollama2Preparer(Preparer):
    """Frames stay uint8; sound becomes a log-mel filter bank; text becomes Qwen2 chat ids with one placeholder.

    exact: as the original: 30 s of filter bank rounded to bfloat16, silence where there is no sound, control tokens
        in titles parsed, text cut at its end (answer included), an odd last frame kept for the connector to drop.
    needs_pairs: whether the connector drops an odd last frame; otherwise the last frame is repeated.
    row_step: rows of one step of the audio encoder.
    """

    def __init__(
        self,
        clip: ClipSpec,
        *,
        chat: Chat,
        prompt: Prompt,
        max_text_tokens: int,
        row_step: int,
        needs_pairs: bool,
        exact: bool,
    ) -> None:
        self.clip, self.chat, self.prompt, self.max_text_tokens = clip, chat, prompt, max_text_tokens
        self.row_step, self.needs_pairs, self.exact = row_step, needs_pairs, exact

    def prepare(self, record: Record, clip: Clip, answer: Answer) -> Prepared:
        """Prepare one sample. A missing picture or sound yields no tokens (exact: missing sound is 30 s of zeros)."""
        words = self.chat.words(self.prompt.text(record), answer, parse=self.exact)
        words = words if self.exact else words.cut(self.max_text_tokens)
        return {
            "frames_FHWC": self._frames(clip),
            "fbank_RM": self._fbank(clip) if self.clip.audio else None,
            "text_T": torch.tensor(words.ids()[: self.max_text_tokens]),
            "num_targets": len(words.target),
            "num_closing": len(words.closing),
        }

    def num_frames(self, count: int) -> int:
        """Frames that the vision tower sees of a clip with this many."""
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

    def collate(self, items: Sequence[Prepared]) -> dict[str, Tensor]:
        """Join frames end to end, pad sound and text on the right."""
        if not items:
            raise ValueError("an empty list cannot be collated")
        lengths_B = torch.tensor([len(item["text_T"]) for item in items])
        text_BT = pad_sequence([i["text_T"] for i in items], batch_first=True, padding_value=self.chat.pad_id)
        num_targets_B = torch.tensor([item["num_targets"] for item in items])
        after_B = num_targets_B + torch.tensor([item["num_closing"] for item in items])
        frames = [item["frames_FHWC"] for item in items]
        fbanks = [item["fbank_RM"] for item in items]
        batch = {
            "text_BT": text_BT,
            "text_mask_BT": torch.arange(text_BT.shape[1]) < lengths_B.unsqueeze(1),
            "answer_B": (lengths_B - after_B - 1).clamp_min(0),
            "num_targets_B": num_targets_B,
            "num_frames_B": torch.tensor([0 if frame is None else len(frame) for frame in frames]),
            "num_rows_B": torch.tensor([0 if fbank is None else len(fbank) for fbank in fbanks]),
        }
        seen, heard = [f for f in frames if f is not None], [f for f in fbanks if f is not None]
        if seen:
            batch["frames_NHWC"] = torch.cat(seen)
        if heard:
            batch["fbank_NRM"] = pad_sequence(heard, batch_first=True)
        return batch
