"""How long a step spends in each part of a model, forward and backward, by marks in the device's own time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from evqa.benchmarking.clock import DeviceClock
from evqa.benchmarking.parts import OTHER
from evqa.benchmarking.step_report import PartTime
from evqa.models.base import Model
from evqa.training.tuning import part_of

HEAD, BETWEEN = "head and loss", "between steps"
Place = tuple[str, str]  # phase, part


class PartTimes:
    """Marks where one part ends and the next begins; the time until the next mark is the part's.

    Forward, hooks of a part's modules mark; backward, the arrival of the gradient of a part's output. What is computed
    again in the backward pass is part of it. Blocks that are compiled have no hooks inside.
    """

    def __init__(self, clock: DeviceClock) -> None:
        self.clock = clock
        self._marks: list[tuple[Any, Place]] = []
        self._inside: list[str] = [HEAD]
        self._num_steps = 0
        self._is_watching = False

    @contextmanager
    def of(self, model: Model) -> Iterator[None]:
        """Watch a model's parts."""
        with ExitStack() as stack:
            self._hook(stack, model, OTHER)
            for name, module in _uncompiled(model):
                if name and (part := part_of(model, name)) != OTHER:
                    self._hook(stack, module, part)
            self._is_watching = True
            self.mark("", BETWEEN)
            yield
        self._is_watching = False

    def _hook(self, stack: ExitStack, module: nn.Module, part: str) -> None:
        stack.callback(module.register_forward_pre_hook(lambda *_: self._enter(part)).remove)
        stack.callback(module.register_forward_hook(lambda _module, _inputs, output: self._leave(output)).remove)

    def _enter(self, part: str) -> None:
        if torch._C._current_autograd_node() is not None:  # computed again
            return
        self._inside.append(part)
        if self._inside[-2] != part:
            self.mark("forward", part)

    def _leave(self, output: Any) -> None:
        if torch._C._current_autograd_node() is not None:
            return
        part = self._inside.pop()
        if self._inside[-1] == part:
            return
        for tensor in tree_leaves(output):
            if part != OTHER and isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(lambda _, part=part: self.mark("backward", part))
        self.mark("forward", self._inside[-1])

    def mark(self, phase: str, part: str) -> None:
        """Begin a part, where a model is watched."""
        if self._is_watching and (not self._marks or self._marks[-1][1] != (phase, part)):
            self._marks.append((self.clock.now(), (phase, part)))

    def begin(self) -> None:
        """Begin a step."""
        self.mark("forward", HEAD)

    def end(self) -> None:
        """End a step."""
        self.mark("", BETWEEN)
        self._num_steps += self._is_watching

    def times(self) -> list[PartTime]:
        """Milliseconds a step, in the order in which the parts first ran; what is behind the last step is left out."""
        self.clock.wait()
        sums: dict[Place, float] = {}
        for (first, place), (second, _) in pairwise(self._marks):
            sums[place] = sums.get(place, 0.0) + self.clock.ms(first, second)
        between = sums.pop(("", BETWEEN), 0.0)
        ordered = [*sums.items(), (("", BETWEEN), between)]
        return [PartTime(phase=phase, part=part, ms=ms / self._num_steps) for (phase, part), ms in ordered]


def _uncompiled(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Name a module and all inside that torch's compiler has not taken over."""
    if getattr(module, "_compiled_call_impl", None) is None:
        yield prefix, module
        for name, child in module.named_children():
            yield from _uncompiled(child, f"{prefix}.{name}" if prefix else name)
