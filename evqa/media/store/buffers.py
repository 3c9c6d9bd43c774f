"""Memory for frames that is used again.

Fresh megabytes are zeroed and mapped page by page by the kernel, which takes longer than reading a clip that the
page cache holds. The C library gives blocks of this size back at once; this pool keeps some.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque

import numpy as np
import torch
from torch import Tensor

SMALLEST = 1 << 20  # bytes; below, the C library does as well
KEPT_BYTES = 256 << 20

_free: defaultdict[int, deque[np.ndarray]] = defaultdict(deque)
_kept = [0]


def uint8_buffer(num_bytes: int) -> Tensor:
    """Return an uninitialised uint8 tensor [num_bytes]; its memory comes back here when no tensor uses it any more."""
    if num_bytes < SMALLEST:
        return torch.empty(num_bytes, dtype=torch.uint8)
    rounded = -(-num_bytes // SMALLEST) * SMALLEST
    try:
        memory = _free[rounded].pop()
        _kept[0] -= rounded
    except IndexError:
        memory = np.empty(rounded, dtype=np.uint8)
    view = memory[:num_bytes]
    weakref.finalize(view, _give_back, memory).atexit = False
    return torch.from_numpy(view)


def _give_back(memory: np.ndarray) -> None:
    if _kept[0] + memory.nbytes <= KEPT_BYTES:
        _kept[0] += memory.nbytes  # a lost race miscounts by one buffer, which only shifts the limit
        _free[memory.nbytes].append(memory)
