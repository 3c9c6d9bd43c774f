"""What a row changes of a built model that no setting changes: what it was before, so that the difference shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from evqa.models.own_precision import leave_autocasting
from evqa.training.model_with_head import ModelWithHead


def adapt_as_peft(module: ModelWithHead) -> None:
    """Let peft compute adapted layers, with a float32 copy of each one's input."""
    from evqa.training.adapted_linear import AdaptedLinear

    for layer in module.modules():
        if isinstance(layer, AdaptedLinear):
            vars(layer)["forward"] = super(AdaptedLinear, layer).forward
            vars(layer)["cast_input_dtype_enabled"] = True


def autocast_everywhere(module: ModelWithHead) -> None:
    """Let frozen encoders compute under autocasting."""
    for layer in module.modules():
        forward = vars(layer).get("forward")
        if isinstance(forward, partial) and forward.func.__module__ == leave_autocasting.__module__:
            del vars(layer)["forward"]


CHANGES: dict[str, Callable[[ModelWithHead], None]] = {
    "adapters as peft's": adapt_as_peft,
    "encoders under autocasting": autocast_everywhere,
}
