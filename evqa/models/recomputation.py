"""Layers whose activations are computed again in the backward pass instead of being kept.

Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Annotated, Literal

import torch.utils.checkpoint
from torch import nn

Recompute = Annotated[float, "0 <= recompute <= 1"] | Literal["auto"]
SWITCH = "gradient_checkpointing"  # transformers' name of a layer's switch, and so ours

recomputed = functools.partial(torch.utils.checkpoint.checkpoint, use_reentrant=False)


def num_recomputed(share: float, num_layers: int) -> int:
    """Count the layers that a share stands for: to the nearest whole number, of two equally near the even one."""
    return round(share * num_layers)


def recompute_first(layers: Iterable[nn.Module], count: int) -> None:
    """Switch recomputation on in the first `count` layers, and off in the others."""
    for index, layer in enumerate(layers):
        _switch(layer, on=index < count)


def recompute_beside(model: nn.Module, layers: Iterable[nn.Module], *, wanted: bool) -> None:
    """Switch recomputation in everything that has a switch, but for these layers. What is frozen is not repeated.

    transformers' own method would also make the output of every embedding ask for gradients, as its older, reentrant
    kind of recomputation needs: a frozen vision tower would be computed again, and backwards, for nothing.
    """
    others = {id(layer) for layer in layers}
    for module in model.modules():
        if hasattr(module, SWITCH) and id(module) not in others:
            _switch(module, on=wanted)


def _switch(module: nn.Module, *, on: bool) -> None:
    vars(module).update({SWITCH: on, "_gradient_checkpointing_func": recomputed})
