"""Memory for frames that is used again.

Fresh megabytes are zeroed and mapped page by page by the kernel, which takes longer than reading a clip that the
page cache holds. The C library gives blocks of this size back at once; this pool keeps some.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque

import numpy as np
import torch
from numpy.typing import NDArray

SMALLEST = 1 << 20  # bytes; below, the C library does as well
KEPT_BYTES = 256 << 20

_free: defaultdict[int, deque[NDArray[np.uint8]]] = defaultdict(deque)
_kept = [0]


def uint8_buffer(num_bytes: int) -> NDArray[np.uint8]:
    """Return uninitialised bytes; their memory comes back here when no array or tensor uses it any more."""
    if num_bytes < SMALLEST:
        return np.empty(num_bytes, dtype=np.uint8)
    rounded = -(-num_bytes // SMALLEST) * SMALLEST
    try:
        memory = _free[rounded].pop()
        _kept[0] -= rounded
    except IndexError:
        memory = np.empty(rounded, dtype=np.uint8)
    # The tensor, not the array, is what users hold on to: NumPy's views of views forget the one in between.
    view = memory[:num_bytes]
    weakref.finalize(view, _give_back, memory).atexit = False
    array: NDArray[np.uint8] = torch.from_numpy(view).numpy()
    return array


def _give_back(memory: NDArray[np.uint8]) -> None:
    if _kept[0] + memory.nbytes <= KEPT_BYTES:
        _kept[0] += memory.nbytes  # a lost race miscounts by one buffer, which only shifts the limit
        _free[memory.nbytes].append(memory)
