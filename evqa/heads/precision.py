"""Float32 inside a block that computes in bfloat16."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[object]:
    """Switch autocasting off on a tensor's device; one without values (meta) stands for one on a GPU."""
    kind = "cuda" if like.is_meta else like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()
