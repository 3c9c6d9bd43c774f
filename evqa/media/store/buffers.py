"""Memory for frames that is used again.

Fresh megabytes are zeroed and mapped page by page by the kernel, which takes longer than reading a clip that the
page cache holds. The C library gives blocks of this size back at once; this pool keeps some.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST = 1 << 20  # bytes; below, the C library does as well
KEPT_BYTES = 256 << 20

_free: defaultdict[int, deque[NDArray[np.uint8]]] = defaultdict(deque)
_kept = [0]


class LentMemory(NamedTuple):
    """The same memory as an array and as a tensor.

    If it was lent, it comes back when neither is in use any more. What shares the tensor's memory keeps it; slices of
    the array do not, because NumPy's views of views forget the one in between.
    """

    array: NDArray[Any]
    tensor: Tensor


def lend(shape: Sequence[int]) -> LentMemory:
    """Return uninitialised uint8 memory that nobody else uses."""
    num_bytes = math.prod(shape)
    if num_bytes < SMALLEST:
        array = np.empty(shape, dtype=np.uint8)
        return LentMemory(array, torch.from_numpy(array))
    rounded = -(-num_bytes // SMALLEST) * SMALLEST
    try:
        memory = _free[rounded].pop()
        _kept[0] -= rounded
    except IndexError:
        memory = np.empty(rounded, dtype=np.uint8)
    # Shaped by NumPy: each operation of torch hands Python's lock to another thread, which costs more than it does.
    array = memory[:num_bytes].reshape(shape)
    weakref.finalize(array, _give_back, memory).atexit = False
    return LentMemory(array, torch.from_numpy(array))


def _give_back(memory: NDArray[np.uint8]) -> None:
    if _kept[0] + memory.nbytes <= KEPT_BYTES:
        _kept[0] += memory.nbytes  # a lost race miscounts by one buffer, which only shifts the limit
        _free[memory.nbytes].append(memory)
