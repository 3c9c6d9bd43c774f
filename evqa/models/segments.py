"""Attention inside the segments of a packed row: the windows and frames of Qwen's vision towers, its chunks of sound.

transformers computes one segment after the other, unless an attention's name says that it is a flash kernel: hundreds
of calls a layer for one video, and as many again for each further video of a batch. Here they are one call where torch
has a kernel for rows of any lengths, else one call for all segments of a length.

# N positions of a row, H heads, K width of a head, G segments of one length, L positions of each
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ATTENTION = "flash_in_segments"  # transformers hands whole rows to what has "flash" in its name
HALVES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Segments:
    """Lengths of the segments of a row, in order, known without asking the device that computes on the row."""

    lengths: Sequence[int]
    device: torch.device

    @property
    def longest(self) -> int:
        """The most positions of a segment."""
        return max(self.lengths)

    @cached_property
    def offsets(self) -> Tensor:
        """Where each begins, and the last one's end: int32, as kernels read them. Tensors without values keep these."""
        offsets = torch.tensor([0, *self.lengths]).cumsum(0, dtype=torch.int32)
        return offsets if self.device.type == "meta" else offsets.to(self.device, non_blocking=True)

    @cached_property
    def groups(self) -> list[tuple[int, int]]:
        """Lengths that occur, and how many segments have each."""
        return sorted(Counter(self.lengths).items())

    @cached_property
    def order(self) -> tuple[Tensor, Tensor] | None:
        """Positions of the row by the length of their segment, and the way back; None where all have one length."""
        if len(self.groups) == 1:
            return None
        length_S = torch.tensor(self.lengths)
        sorted_N = length_S.repeat_interleave(length_S).argsort(stable=True)
        return tuple(one.to(self.device, non_blocking=True) for one in (sorted_N, sorted_N.argsort()))  # type: ignore[return-value]


def use_segments(tower: Any) -> None:
    """Let a tower of transformers compute its attention here; it then takes `Segments` for its `cu_seqlens`."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _interface)
    tower.config._attn_implementation = ATTENTION


def _interface(
    module: Any, query_1HNK: Tensor, key_1HNK: Tensor, value_1HNK: Tensor, **settings: Any
) -> tuple[Tensor, None]:
    """Answer as transformers asks: heads before positions, and after them in what comes back [1, N, H, K]."""
    del module
    query_NHK, key_NHK, value_NHK = (tensor[0].transpose(0, 1) for tensor in (query_1HNK, key_1HNK, value_1HNK))
    mixed_NHK = attend(query_NHK, key_NHK, value_NHK, settings["cu_seq_lens_q"], scale=settings["scaling"])
    return mixed_NHK.unsqueeze(0), None


def attend(query_NHK: Tensor, key_NHK: Tensor, value_NHK: Tensor, segments: Segments, *, scale: float) -> Tensor:
    """Let every position attend to those of its own segment; returns [N, H, K]."""
    if kernel := _kernel_of_any_lengths(query_NHK):
        ends, longest = segments.offsets, segments.longest
        mixed_NHK: Tensor = kernel(query_NHK, key_NHK, value_NHK, ends, ends, longest, longest, scale=scale)
        return mixed_NHK
    rows, order = [query_NHK, key_NHK, value_NHK], segments.order
    if order is not None:
        rows = [row.index_select(0, order[0]) for row in rows]
    sizes = [length * count for length, count in segments.groups]
    pieces = zip(segments.groups, *(row.split(sizes) for row in rows), strict=True)
    mixed_NHK = torch.cat([_in_one_call(length, *piece, scale=scale) for (length, _), *piece in pieces])
    return mixed_NHK if order is None else mixed_NHK.index_select(0, order[1])


def _in_one_call(length: int, *rows: Tensor, scale: float) -> Tensor:
    query, key, value = (row.unflatten(0, (-1, length)).transpose(1, 2) for row in rows)
    mixed_GHLK = functional.scaled_dot_product_attention(query, key, value, scale=scale)
    return mixed_GHLK.transpose(1, 2).flatten(0, 1)


def _kernel_of_any_lengths(row_NHK: Tensor) -> Callable[..., Any] | None:
    """Find torch's kernel for rows of any lengths: of 16-bit tensors, on NVIDIA's cards from Ampere on."""
    if row_NHK.dtype not in HALVES or row_NHK.shape[-1] % 8 or not (row_NHK.is_meta or _is_ampere(row_NHK)):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # an older torch
        return None
    return varlen_attn if "scale" in signature(varlen_attn).parameters else None


def _is_ampere(tensor: Tensor) -> bool:
    """Whether a tensor lies on an NVIDIA card of this kind, or of a later one."""
    is_nvidia = tensor.is_cuda and torch.version.hip is None
    return is_nvidia and torch.cuda.get_device_capability(tensor.device) >= (8, 0)
