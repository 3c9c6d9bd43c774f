"""What compiling a layer does to its kernels: those between two matrix kernels become one where they share tensors.

A model of TorchInductor, which fuses elementwise operations and reductions (Ansel et al., PyTorch 2, ASPLOS 2024).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from evqa.benchmarking.arithmetic import GATHERING
from evqa.benchmarking.counting import Kernel
from evqa.benchmarking.uses import Use


def fused(kernels: Sequence[Kernel], *, kept: Collection[int] = ()) -> list[Kernel]:
    """Join the kernels of every compiled layer between two that stay on their own: matrix kernels, look-ups, Liger's.

    Kernels that have no tensor in common stay apart. A tensor that only one run makes and uses costs no traffic; what
    the run reads from outside, or leaves for others and for the backward pass, does, once. kept: numbers of the memory
    that is in use when all is done.
    """
    readers: dict[int, set[int]] = {memory: {-1} for memory in kept}
    for index, kernel in enumerate(kernels):
        for use in kernel.reads:
            readers.setdefault(use.memory, set()).add(index)
    joined: list[Kernel] = []
    for run in chain.from_iterable(_connected(one, kernels) for one in _runs(kernels)):
        first = kernels[run[0]]
        num_bytes = _traffic([kernels[index] for index in run], set(run), readers) if len(run) > 1 else first.num_bytes
        joined.append(replace(first, num_bytes=num_bytes))
    return joined


def _runs(kernels: Sequence[Kernel]) -> Iterator[list[int]]:
    """Yield the numbers of kernels that become one, in the order of their first ones."""
    runs: list[list[int]] = []
    open_runs: dict[tuple[str, str], list[int]] = {}
    for index, kernel in enumerate(kernels):
        place = (kernel.phase, kernel.layer)
        if not kernel.layer or _is_alone(kernel):
            open_runs.pop(place, None)
            runs.append([index])
        elif place in open_runs:
            open_runs[place].append(index)
        else:
            open_runs[place] = [index]
            runs.append(open_runs[place])
    yield from runs


def _connected(run: Sequence[int], kernels: Sequence[Kernel]) -> list[list[int]]:
    """Divide a run into kernels that have memory in common, directly or through others."""
    groups: list[tuple[set[int], list[int]]] = []
    for index in run:
        memory, numbers = {use.memory for use in (*kernels[index].reads, *kernels[index].writes)}, [index]
        apart = []
        for group in groups:
            if group[0] & memory:
                memory, numbers = memory | group[0], group[1] + numbers
            else:
                apart.append(group)
        groups = [*apart, (memory, numbers)]
    return sorted(sorted(numbers) for _, numbers in groups)


def _is_alone(kernel: Kernel) -> bool:
    return bool(kernel.flops) or kernel.name in GATHERING or kernel.name.startswith("fused_")


def _traffic(run: Sequence[Kernel], numbers: set[int], readers: Mapping[int, set[int]]) -> int:
    made: set[int] = set()
    read: list[Use] = []
    written: list[Use] = []
    for kernel in run:
        read += [use for use in kernel.reads if use.memory not in made]
        written += [use for use in kernel.writes if not readers.get(use.memory, set()) <= numbers or use in read]
        made |= {use.memory for use in kernel.writes}
    return _once(read) + _once(written)


def _once(uses: Iterable[Use]) -> int:
    """Sum what is used, each place once, and of no memory more than there is."""
    sums: dict[int, int] = {}
    for use in dict.fromkeys(uses):
        sums[use.memory] = min(sums.get(use.memory, 0) + use.num_bytes, use.memory_bytes)
    return sum(sums.values())
