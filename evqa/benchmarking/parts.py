"""Which part of a model an operation belongs to, forward and backward."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import nn

from evqa.models.base import Model
from evqa.training.tuning import part_of

Phase = Literal["forward", "backward", "again", "optimizer"]  # again: computed again in the backward pass
OTHER = "other"


class Parts:
    """Follows a forward pass by hooks, and a backward pass by the numbers of autograd's nodes.

    A node is numbered when the forward pass makes it, so that the numbers between two marks belong to one part.
    """

    def __init__(self) -> None:
        self._inside = [OTHER]
        self._firsts, self._names = [0], [OTHER]
        self._weights: dict[int, str] = {}
        self._num_again = 0  # modules, one inside another, that are being computed again

    @contextmanager
    def of(self, model: Model) -> Iterator[None]:
        """Watch every module of a model that belongs to a part."""
        self._weights = {id(weight): part_of(model, name) for name, weight in model.named_parameters()}
        with ExitStack() as stack:
            for name, module in model.named_modules():
                if (part := part_of(model, name)) != OTHER:
                    self._hook(stack, module, part)
            yield

    @contextmanager
    def each(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """Watch modules, each by its number."""
        with ExitStack() as stack:
            for number, module in enumerate(modules):
                self._hook(stack, module, str(number))
            yield

    def _hook(self, stack: ExitStack, module: nn.Module, part: str) -> None:
        stack.callback(module.register_forward_pre_hook(lambda *_: self._enter(part)).remove)
        # What is computed again may be left before its end, by an exception.
        stack.callback(module.register_forward_hook(lambda *_: self._leave(), always_call=True).remove)

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Count the block's operations to a part."""
        self._enter(part)
        yield
        self._leave()

    def _enter(self, part: str) -> None:
        if torch._C._current_autograd_node() is None:
            self._inside.append(part)
            self._mark()
        else:
            self._num_again += 1

    def _leave(self) -> None:
        if torch._C._current_autograd_node() is None:
            self._inside.pop()
            self._mark()
        else:
            self._num_again -= 1

    def _mark(self) -> None:
        self._firsts.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._names.append(self._inside[-1])

    def now(self) -> tuple[Phase, str]:
        """Name pass and part of the operation that runs."""
        node: Any = torch._C._current_autograd_node()
        if node is None:
            return "forward", self._inside[-1]
        # Inside of a function of its own, gradients are off in either pass.
        phase: Phase = "again" if torch.is_grad_enabled() or self._num_again else "backward"
        if (weight := getattr(node, "variable", None)) is not None:  # a gradient that is added to a weight's
            return phase, self._weights.get(id(weight), "head")
        return phase, self._names[bisect_right(self._firsts, node._sequence_nr()) - 1]
