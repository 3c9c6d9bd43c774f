"""How numbers are held and computed: the options of `trainer.precision`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.plugins.precision import HalfPrecision
from torch import nn

from evqa.training.model_with_head import ModelWithHead


class Bfloat16Weights(HalfPrecision):
    """Weights, gradients and optimizer state in bfloat16, those of head and adapters apart; operations as under `bf16`.

    casts: whether operations autocast; without it there is nothing but bfloat16, but for what heads compute.

    Lightning's own `bf16-true` converts a batch's tensors, labels included, and leaves the rest to chance: one float32
    value in a model then fails beside bfloat16 weights. Autocasting brings the inputs of an operation together.
    """

    def __init__(self, device_type: str, *, casts: bool) -> None:
        super().__init__("bf16-true")
        self.device_type, self.casts = device_type, casts

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Give weights their types."""
        assert isinstance(module, ModelWithHead)
        module.hold_in_bfloat16()
        return module

    def convert_input(self, data: Any) -> Any:
        """Leave a batch as it is: labels stay exact."""
        return data

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        """Compute in bfloat16 where that is safe, in float32 elsewhere."""
        with torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=self.casts):
            yield
