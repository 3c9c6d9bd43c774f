"""Encoder layers that learn nothing compute in the type of their weights, without autocasting's copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def leave_autocasting(layers: Iterable[nn.Module]) -> None:
    """Switch autocasting off inside frozen layers whose weights and input are in bfloat16 when they run.

    Autocasting has a layer norm write float32, of which every product behind it makes a bfloat16 copy. Outside of it
    the norm itself rounds what it has computed in float32. A layer that is given float32 stays under autocasting.
    """
    for layer in layers:
        vars(layer)["forward"] = partial(_run, layer, layer.forward)


def _run(layer: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    hidden = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    if not next(layer.parameters()).dtype == hidden.dtype == torch.bfloat16:
        return forward(*args, **kwargs)
    with torch.autocast("cuda" if hidden.is_meta else hidden.device.type, enabled=False):  # meta stands for a GPU
        return forward(*args, **kwargs)
