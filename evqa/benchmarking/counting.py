"""Counts what runs on tensors without values as if they lay on a GPU."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from evqa.benchmarking import arithmetic
from evqa.benchmarking.parts import Parts, Phase
from evqa.benchmarking.uses import Memories, Use

TRUTH = "truth value"  # among what is waited for


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One kernel: what it belongs to, its matrix arithmetic, its traffic.

    is_half: whether it computes in 16 bits. layer: the compiled layer that it runs in, if any; reads, writes: of those.
    """

    phase: Phase
    part: str
    name: str
    flops: float
    num_bytes: float
    is_half: bool
    layer: str = ""
    reads: tuple[Use, ...] = ()
    writes: tuple[Use, ...] = ()


class LiveMemory:
    """Bytes of the tensors that are alive, and the most that were at once; weights are held apart from them."""

    def __init__(self, apart: Iterable[Tensor] = ()) -> None:
        self.live = self.peak = 0
        self._apart = {tensor.untyped_storage()._cdata for tensor in apart}
        self._held: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: Tensor) -> None:
        """Note a tensor; its memory is free again when nothing uses it any more."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._apart or key in self._held:
            return

        def free(_: Any) -> None:
            self.live -= size
            del self._held[key]

        self._held[key] = weakref.ref(storage, free)
        self.live += size
        self.peak = max(self.peak, self.live)


class KernelRecorder(TorchDispatchMode):
    """Lists every kernel that a GPU would run, follows memory, and notes what a step would wait for.

    A truth value that the program asks for is taken to be False: of a mask with padding, not everything is true.
    forget: called when a part that was computed again in the backward pass is done. layers: follows compiled layers.
    """

    def __init__(
        self,
        parts: Parts,
        memory: LiveMemory,
        waits: Counter[str],
        *,
        forget: Callable[[], None] = lambda: None,
        layers: Parts | None = None,
    ) -> None:
        super().__init__()
        self.layers, self.memories = layers, Memories()
        self.parts, self.memory, self.waits, self.forget = parts, memory, waits, forget
        self.kernels: list[Kernel] = []
        self._last: Phase = "forward"

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count it."""
        kwargs = kwargs or {}
        if _asks_truth(operation, args):
            self.waits[TRUTH] += 1
            return False
        result = operation(*args, **kwargs)
        outputs = _tensors(result)
        for tensor in outputs:
            if tensor.is_meta:
                self.memory.add(tensor)
        if _waits(operation, args, kwargs):
            self.waits["to"] += 1
        self._count(operation, args, kwargs, outputs)
        return result

    def _count(self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Sequence[Tensor]) -> None:
        phase, part = self.parts.now()
        if self._last == "again" != phase:
            self.forget()
        self._last = phase
        name, tensors = arithmetic.name_of(operation), _tensors((args, kwargs))
        if not arithmetic.is_kernel(name, tensors, outputs, operation):
            return
        given = arithmetic.named(operation, args, kwargs)
        self.kernels.append(
            Kernel(
                phase=phase,
                part=part,
                name=name,
                flops=arithmetic.flops_of(name, given, outputs),
                num_bytes=arithmetic.bytes_of(name, operation, given, outputs),
                is_half=arithmetic.is_half(tensors),
                layer=self._layer(),
                reads=self._uses(arithmetic.read_by(name, given)),
                writes=self._uses(arithmetic.written_by(operation, given, outputs)),
            )
        )

    def _layer(self) -> str:
        name = "" if self.layers is None else self.layers.now()[1]
        return name if name.isdecimal() else ""  # else outside of all layers, or at a weight

    def _uses(self, tensors: Sequence[Tensor]) -> tuple[Use, ...]:
        return () if self.layers is None else self.memories.uses(tensors)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _asks_truth(operation: Any, args: Sequence[Any]) -> bool:
    is_value = arithmetic.name_of(operation) == "_local_scalar_dense"
    return is_value and bool(args[0].is_meta) and args[0].dtype == torch.bool


def _waits(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a tensor is sent to the device in a way that the program waits for.

    Numbers that a program asks the device for stop it on the meta device, which has none.
    """
    to_device = kwargs.get("device") == torch.device("meta") and not kwargs.get("non_blocking")
    return arithmetic.name_of(operation) == "_to_copy" and to_device and not args[0].is_meta
