"""The optimizer and its schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Settings of torch's AdamW.

    learning_rate: null takes what suits the model (`Model.learning_rate`).
    rates: learning rates by part (vision, connector, audio, audio_connector, language, lm_head, head, lora), for
        those that differ from `learning_rate`. Biases and norm weights are never decayed.
    """

    learning_rate: Annotated[float, "0 < learning_rate"] | None = None
    rates: dict[str, Annotated[float, "0 <= rate"]] = field(default_factory=dict)
    weight_decay: Annotated[float, "0 <= weight_decay"] = 0.0
    betas: tuple[Annotated[float, "0 <= beta < 1"], Annotated[float, "0 <= beta < 1"]] = (0.9, 0.999)
    eps: Annotated[float, "0 <= eps"] = 1e-8

    def rate(self, part: str) -> float:
        """Return the learning rate of a part."""
        rate = self.rates.get(part, self.learning_rate)
        if rate is None:
            raise ValueError("the model's own learning rate was not filled in")
        return rate

    def build(self, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.AdamW:
        """Make the optimizer for trained parameters; `named` pairs each with its part."""
        groups: dict[tuple[str, float], list[nn.Parameter]] = {}
        for part, parameter in named:
            decay = self.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((part, decay), []).append(parameter)
        return torch.optim.AdamW(
            [
                {"params": parameters, "lr": self.rate(part), "weight_decay": decay, "name": part}
                for (part, decay), parameters in groups.items()
            ],
            betas=self.betas,
            eps=self.eps,
            fused=True,
        )


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """Linear warm-up from 0, then half a cosine down to `final` times the rate.

    warmup: share of all optimizer steps (LMM-EVQA: 0.03, rounded up). A training of a single step has none: it would
        learn nothing, as it does in the original.
    """

    warmup: Annotated[float, "0 <= warmup <= 1"] = 0.03
    final: Annotated[float, "0 <= final <= 1"] = 0.0

    def factor(self, step: int, *, num_steps: int) -> float:
        """Return the multiplier of the learning rate for a 0-based optimizer step."""
        num_warmup = math.ceil(self.warmup * num_steps) if num_steps > 1 else 0
        if step < num_warmup:
            return step / max(1, num_warmup)
        progress = (step - num_warmup) / max(1, num_steps - num_warmup)
        cosine = max(0.0, 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))
        return self.final + (1.0 - self.final) * cosine

    def build(self, optimizer: torch.optim.Optimizer, *, num_steps: int) -> LambdaLR:
        """Attach the schedule to an optimizer."""
        return LambdaLR(optimizer, lambda step: self.factor(step, num_steps=num_steps))
