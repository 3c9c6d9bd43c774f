"""Where Qwen's tokens stand in time, height and width (M-RoPE), as their weights were trained with it.

Counted here, on the CPU side, because transformers counts differently from version to version: from 5.3 on the text
behind a Qwen2.5-VL video begins one longer side of a frame after the video's start, inside the video's own seconds;
4.57 to 5.3 round the seconds of a step down before they are multiplied (docs/models.md, "Positions").

# B batch, T tokens
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from evqa.types import Prepared

Grid = tuple[int, int, int]  # tokens of a video in time, height and width


def rotary_positions(
    ids_T: Tensor,
    *,
    video: int,
    grids: Sequence[Grid],
    seconds_per_step: Sequence[float],
    times_per_second: float = 0.0,
) -> Tensor:
    """Return int64 [T, 3] (time, height, width) for a text in which runs of the token `video` stand for `grids`.

    Text counts by one on all three; a video's tokens count from the text before them, and the text behind starts after
    the largest position so far. seconds_per_step: between two steps in time, for each grid. times_per_second: positions
    in time; rounded down when they are counted from the video's start, in float32 as in transformers.
    """
    pieces, start, place = [], 0, 0
    ids = ids_T.tolist()
    for (time, height, width), seconds in zip(grids, seconds_per_step, strict=True):
        first = ids.index(video, place)
        pieces.append(_text(start, first - place))
        start += first - place
        times = (torch.arange(time) * torch.tensor(seconds) * times_per_second).long()
        axes = torch.meshgrid(times, torch.arange(height), torch.arange(width), indexing="ij")
        pieces.append(torch.stack(axes, dim=-1).reshape(-1, 3) + start)
        start = int(pieces[-1].max()) + 1
        place = first + time * height * width
    return torch.cat([*pieces, _text(start, len(ids) - place)])


def collate_positions(items: Sequence[Prepared]) -> dict[str, Tensor]:
    """Stack `position_T3` of all samples as transformers takes it, [3, B, T]; padding stands at 0."""
    return {"position_3BT": pad_sequence([item["position_T3"] for item in items], batch_first=True).permute(2, 0, 1)}


def _text(start: int, count: int) -> Tensor:
    return torch.arange(start, start + count).unsqueeze(1).expand(-1, 3)
