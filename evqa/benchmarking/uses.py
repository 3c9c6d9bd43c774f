"""Which memory a kernel reads and writes."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from evqa.benchmarking.arithmetic import size_of


@dataclass(frozen=True)
class Use:
    """A kernel reads or writes a tensor: number and size of its memory, its place in there, the bytes it meets."""

    memory: int
    memory_bytes: int
    place: tuple[Any, ...]
    num_bytes: int


class Memories:
    """Numbers the memory of tensors, so that one that was freed is not taken for another at the same address."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._count = 0

    def uses(self, tensors: Iterable[Tensor]) -> tuple[Use, ...]:
        """Describe tensors on the device."""
        return tuple(self._use(tensor) for tensor in tensors if tensor.is_meta)

    def _use(self, tensor: Tensor) -> Use:
        memory = tensor.untyped_storage()
        found = self._known.get(memory._cdata)
        if found is None or found[0]() is None:
            found = self._known[memory._cdata] = (weakref.ref(memory), self._count)
            self._count += 1
        place = (tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        return Use(found[1], memory.nbytes(), place, size_of([tensor]))

    def kept(self) -> set[int]:
        """Return the numbers of what is in use now."""
        return {number for memory, number in self._known.values() if memory() is not None}
