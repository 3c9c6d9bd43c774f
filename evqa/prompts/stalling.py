"""Where a streamed video stands still, and how VQA²'s two streaming questions word it (Jia et al., arXiv 2411.03795).

The words are those of its stage-2 streaming lists. A stall is a run of frames that do not move on.

# N frames of the video
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal

from evqa.errors import PromptError
from evqa.types import Clip

STALLING = "stalling"  # the column, and its place in a question
NONE = "none"  # events of a video that never stalls; an empty cell says nothing at all
Style = Literal["frames", "sums"]
_EVENT = re.compile(r"(\d{1,9})\+(\d{1,9})")
_RULE = (
    "write 0 or 1 for every frame (0011100), or events in frames as START+LENGTH;START+LENGTH, in order and apart "
    f"({NONE} where nothing stalls)."
)


@dataclass(frozen=True, kw_only=True)
class Stalling:
    """Stalls of a video, each as (first frame, number of frames), in order; num_frames: of the whole video."""

    events: tuple[tuple[int, int], ...]
    num_frames: int

    def worded(self, style: Style) -> str:
        """Write VQA²'s sentence, punctuation included: `frames` is its version 1, `sums` its version 2."""
        return self._as_frames() if style == "frames" else self._as_sums()

    def _as_frames(self) -> str:
        flags_N = ["0"] * self.num_frames
        for start, length in self.events:
            flags_N[start : start + length] = "1" * length
        sequence = "".join(flags_N)
        return f". The temporal sequence of the stalling information of each frame is shown as follows: {sequence}"

    def _as_sums(self) -> str:
        intro = " The stalling condition of this video is:"
        if not self.events:
            return f"{intro} The video plays smoothly, without any stalling happens."
        stalled = sum(length for _, length in self.events)
        rest = self.num_frames - sum(self.events[-1])
        return (
            f"{intro} The total stalling duration of this video is {stalled} frames, accounting for "
            f"{self._percent(stalled)} percent of the total duration. The number of stalling events of the video is "
            f"{len(self.events)}. The time elapsed from the end of the last stalling event to the end of the video is "
            f"{rest} frames, accounting for {self._percent(rest)} percent of the total playback duration."
        )

    def _percent(self, frames: int) -> str:
        return f"{100 * frames / self.num_frames:.6f}"


def read_stalling(text: str, clip: Clip | None) -> Stalling:
    """Read a record's text: 0 or 1 a frame, or events.

    clip: the video, whose length events need; None where it was not read, then it ends with its last event.

    Raises:
        PromptError: the text is neither, or an event lies behind the video's end.
    """
    if _is_per_frame(text):
        return Stalling(events=tuple(_runs(text)), num_frames=len(text))
    events = _events(text)
    end = sum(events[-1]) if events else 1
    num_frames = end if clip is None else clip.num_frames
    if num_frames is None:
        raise PromptError(f"{_said(text)}: the file does not say how many frames it has; write 0 or 1 for each.")
    if events and end > num_frames:
        raise PromptError(f"{_said(text)}: the last event ends with frame {end}, and the file has {num_frames}.")
    return Stalling(events=events, num_frames=num_frames)


def length_notes(text: str, clip: Clip) -> tuple[str, ...]:
    """Say where a text has another number of frames than the file; the question keeps the text's."""
    if not _is_per_frame(text) or clip.num_frames in (None, len(text)):
        return ()
    return (f"{STALLING} is of {len(text)} frames, and the file has {clip.num_frames}",)


def _is_per_frame(text: str) -> bool:
    return bool(text) and not set(text) - {"0", "1"}


def _runs(flags: str) -> list[tuple[int, int]]:
    runs, start = list[tuple[int, int]](), 0
    for flag, run in groupby(flags):
        length = len(list(run))
        runs += [(start, length)] if flag == "1" else []
        start += length
    return runs


def _events(text: str) -> tuple[tuple[int, int], ...]:
    if text.strip() == NONE:
        return ()
    found = [_EVENT.fullmatch(part.strip()) for part in text.split(";")]
    events = tuple((int(match[1]), int(match[2])) for match in found if match)
    is_sorted = all(sum(first) < second[0] for first, second in pairwise(events))
    if len(events) < len(found) or not is_sorted or not all(length for _, length in events):
        raise PromptError(f"{_said(text)}: {_RULE}")
    return events


def _said(text: str) -> str:
    return f"{STALLING}='{text if len(text) <= 40 else f'{text[:40]}...'}'"
