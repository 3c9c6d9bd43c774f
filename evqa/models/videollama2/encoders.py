"""Picture and sound as tokens of the language model, sample by sample.

# B batch, N items of all samples in a row, F frames, P patches, C channels, H height, W width, R filter-bank rows,
# M mel bins, T tokens, D width
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from evqa.models.transfer import on_device
from evqa.models.videollama2.beats import Beats
from evqa.models.videollama2.connector import Connector
from evqa.models.videollama2.towers import VisionTower

Encode = Callable[[Tensor, list[int]], list[Tensor]]  # (items in a row, size of each sample) -> its tokens [T, D]


def encode_frames(
    tower: VisionTower, connector: Connector, pixels_NCHW: Tensor, num_frames: list[int], *, learn: bool
) -> list[Tensor]:
    """Map the frames of all samples in a row to tokens [T, D] of each; the tower gets gradients only to learn."""
    with contextlib.nullcontext() if learn else torch.no_grad():
        features_NPC = tower(pixels_NCHW)
    clips = features_NPC.to(dtype_of(connector.readout)).split(num_frames)
    tokens: dict[int, Tensor] = {}
    for count in sorted(set(num_frames)):  # clips of one length at a time: nothing is padded
        indices = [index for index, frames in enumerate(num_frames) if frames == count]
        tokens |= dict(zip(indices, connector(torch.stack([clips[index] for index in indices])), strict=True))
    return [tokens[index] for index in range(len(num_frames))]


def encode_audio(tower: Beats, projector: nn.Sequential, fbank_NRM: Tensor, num_rows: list[int]) -> list[Tensor]:
    """Map filter banks to tokens [T, D] of each sample; rows beyond its number are padding."""
    patch = tower.dims.input_patch_size
    steps = [rows // patch for rows in num_rows]
    is_padded = min(steps) < fbank_NRM.shape[1] // patch
    num_steps_B = on_device(steps, fbank_NRM.device) if is_padded else None
    features_NTD = tower(fbank_NRM, num_steps_B)
    tokens_NTD = projector(features_NTD.to(dtype_of(projector)))
    bands = fbank_NRM.shape[2] // patch
    return [tokens[: count * bands] for tokens, count in zip(tokens_NTD, steps, strict=True)]


def spread(encode: Encode, items: Tensor, counts: Sequence[int]) -> list[Tensor | None]:
    """Encode the items of the samples that have some; None for the others."""
    tokens = iter(encode(items, [count for count in counts if count]))
    return [next(tokens) if count else None for count in counts]


def dtype_of(module: nn.Module) -> torch.dtype:
    """Type of a module's weights (parts that are trained may be kept in another one than frozen parts)."""
    return next(module.parameters()).dtype
