"""Linear layers whose weights are held in 4 bits (Dettmers et al., QLoRA, NeurIPS 2023), by bitsandbytes.

Weights are 4-bit indices (nf4), with a scale of 8 bits for every 64 of them, and a float32 scale for every 256 of these
("double quantisation"): 4.13 bits a weight. For a product of more than a few rows, bitsandbytes makes a bfloat16 matrix
of them, forwards and backwards.

# N weights, S scales, G groups of scales, E outputs, D inputs
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evqa.errors import MissingDependencyError

BLOCK, GROUP = 64, 256


def hold_in_four_bits(model: nn.Module, names: Iterable[str], *, counted: bool = False) -> None:
    """Replace linear layers that are not in 4 bits yet.

    Weights that are there become 4 bits when the model is moved to its device, the CPU included; where they are still
    to be read (meta), as they are read (`pack`). counted: by stand-ins without values, which stay without.
    """
    for name in names:
        old = model.get_submodule(name)
        assert isinstance(old, nn.Linear)
        if not is_packed(old.weight):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, CountedLinear4bit(old) if counted else _quantised(old))


def is_packed(weight: Tensor) -> bool:
    """Tell whether a weight is in 4 bits, or will be as soon as it is read."""
    return hasattr(weight, "quant_state")


def pack(model: nn.Module, names: Iterable[str], *, empty: Tensor) -> None:
    """Bring a weight that was just read into 4 bits, where the empty one in its place was to be."""
    if not is_packed(empty):
        return
    packed: Any = type(empty)
    for name in names:
        parent, _, leaf = name.rpartition(".")
        module = model.get_submodule(parent)
        read = getattr(module, leaf)
        setattr(module, leaf, packed(read.data, requires_grad=False, quant_type="nf4").to(read.device))


def _quantised(old: nn.Linear) -> nn.Linear:
    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise MissingDependencyError("lora=qlora needs bitsandbytes: pip install 'evqa[qlora]'") from error
    new: nn.Linear = bnb.nn.Linear4bit(
        old.in_features, old.out_features, old.bias is not None, compute_dtype=torch.bfloat16, device="meta"
    )
    new.weight = bnb.nn.Params4bit(old.weight.data, requires_grad=False, quant_type="nf4")
    new.bias = old.bias
    return new


def num_values(weight: Tensor) -> int:
    """Count the values of a weight; a byte holds two of 4 bits."""
    return weight.numel() * (2 if weight.dtype == torch.uint8 else 1)


class CountedLinear4bit(nn.Linear):
    """A 4-bit layer without values, for counting memory and work without a GPU and without bitsandbytes."""

    def __init__(self, old: nn.Linear) -> None:
        super().__init__(old.in_features, old.out_features, bias=False, device="meta")
        num_scales = math.ceil(self.weight.numel() / BLOCK)
        packed_N1 = torch.empty(math.ceil(self.weight.numel() / 2), 1, dtype=torch.uint8, device="meta")
        self.weight, self.bias = nn.Parameter(packed_N1, requires_grad=False), old.bias
        self.register_buffer("scales_S", torch.empty(num_scales, dtype=torch.uint8, device="meta"))
        self.register_buffer("scales_G", torch.empty(math.ceil(num_scales / GROUP), device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply in bfloat16, as the real layer does, and return the input's own type."""
        shape, scales = (self.out_features, self.in_features), (self.scales_S, self.scales_G)
        output: Tensor = _PackedProduct.apply(x.to(torch.bfloat16), self.weight, *scales, self.bias, shape)
        return output.to(x.dtype)


class _PackedProduct(torch.autograd.Function):
    """Of all that it is given it keeps the packed weights alone, and makes the bfloat16 matrix anew going back."""

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        packed: Tensor,
        scales: Tensor,
        groups: Tensor,
        bias: Tensor | None,
        shape: tuple[int, int],
    ) -> Tensor:
        context.quantised = packed, scales, groups, shape
        bias = None if bias is None else bias.to(torch.bfloat16)
        return functional.linear(x, dequantised(*context.quantised), bias)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        return gradient @ dequantised(*context.quantised), None, None, None, None, None


def dequantised(packed: Tensor, scales: Tensor, groups: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a bfloat16 matrix [E, D] for packed weights: in two kernels, the first for the scales."""
    matrix_ED: Tensor = _weights(packed, _scales(scales, groups), *shape)
    return matrix_ED


@torch.library.custom_op("evqa::dequantise_scales", mutates_args=())
def _scales(scales: Tensor, groups: Tensor) -> Tensor:
    raise NotImplementedError


@_scales.register_fake
def _(scales: Tensor, groups: Tensor) -> Tensor:
    del groups
    return torch.empty_like(scales, dtype=torch.float32)


@torch.library.custom_op("evqa::dequantise_weights", mutates_args=())
def _weights(packed: Tensor, scales: Tensor, num_outputs: int, num_inputs: int) -> Tensor:
    raise NotImplementedError


@_weights.register_fake
def _(packed: Tensor, scales: Tensor, num_outputs: int, num_inputs: int) -> Tensor:
    del scales
    return torch.empty(num_outputs, num_inputs, dtype=torch.bfloat16, device=packed.device)
