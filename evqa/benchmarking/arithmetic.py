"""What one operation of a GPU computes and moves, by its name and the shapes of its tensors.

# B batch, H heads, T queries, S keys, K width of a head, N positions of all segments
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

Named = Mapping[str, Any]  # arguments of an operation by the names of its schema
Count = Callable[[Named, Sequence[Tensor]], float]  # of floating-point operations, from arguments and outputs

# What a backward pass of fused attention costs beside its forward pass: five products for two (Dao et al.,
# FlashAttention, NeurIPS 2022, appendix B).
ATTENTION_BACKWARD = 2.5
# They only reserve memory.
RESERVING = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
# Their first tensor is not read, or only the rows that are asked for.
OVERWRITING = {"copy_", "fill_", "zero_"}
GATHERING = {"embedding", "index", "index_select", "gather"}


def name_of(operation: Any) -> str:
    """Name of an operation without its library."""
    return str(operation._schema.name).partition("::")[2]


def named(operation: Any, args: Sequence[Any], kwargs: Named) -> dict[str, Any]:
    """Give every argument its name; those that are not given have their defaults."""
    schema = operation._schema.arguments
    given = dict(zip((argument.name for argument in schema), args, strict=False)) | dict(kwargs)
    return {a.name: given.get(a.name, a.default_value if a.has_default_value() else None) for a in schema}


def flops_of(name: str, given: Named, outputs: Sequence[Tensor]) -> float:
    """Floating-point operations in matrix products, convolutions and attention (a multiply-add is two); else 0."""
    count = COUNTS.get(name)
    return 0.0 if count is None else float(count(given, outputs))


def _product(left: str) -> Count:
    """Count a matrix product: every output sums over the last dimension of the argument `left`."""
    return lambda given, outputs: 2.0 * outputs[0].numel() * int(given[left].shape[-1])


def _dot(given: Named, _: Sequence[Tensor]) -> float:
    return 2.0 * int(given["self"].numel())


def _convolved(given: Named, output: Tensor) -> float:
    """Count one pass: every weight of a filter meets every position; a filter sees its own group's channels only."""
    weight: Tensor = given["weight"]
    positions: Tensor = given["input"] if given["transposed"] else output
    return 2.0 * positions.shape[0] * math.prod(positions.shape[2:]) * weight.numel()


def _convolution(given: Named, outputs: Sequence[Tensor]) -> float:
    return _convolved(given, outputs[0])


def _convolution_backward(given: Named, _: Sequence[Tensor]) -> float:
    wants_input, wants_weight, _ = given["output_mask"]
    return (int(wants_input) + int(wants_weight)) * _convolved(given, given["grad_output"])


def _attention(given: Named, _: Sequence[Tensor]) -> float:
    query_BHTK, key, value = (cast("Tensor", given[name]) for name in ("query", "key", "value"))
    pairs = math.prod(query_BHTK.shape[:-1]) * key.shape[-2] * (0.5 if given["is_causal"] else 1.0)
    return 2 * pairs * (query_BHTK.shape[-1] + value.shape[-1])


def _attention_backward(given: Named, outputs: Sequence[Tensor]) -> float:
    return ATTENTION_BACKWARD * _attention(given, outputs)


def _segments(given: Named, _: Sequence[Tensor]) -> float:
    """Count attention inside segments, whose ends stay on the CPU for tensors without values."""
    query_NHK, ends = cast("Tensor", given["query"]), cast("Tensor", given["cu_seq_q"])
    pairs = int(ends.diff().long().square().sum()) * query_NHK.shape[1]
    return 4.0 * pairs * query_NHK.shape[2]


def _segments_backward(given: Named, outputs: Sequence[Tensor]) -> float:
    return ATTENTION_BACKWARD * _segments(given, outputs)


COUNTS: dict[str, Count] = {
    "mm": _product("self"),
    "bmm": _product("self"),
    "mv": _product("self"),
    "addmm": _product("mat1"),
    "addmm_": _product("mat1"),
    "addmv": _product("mat"),
    "baddbmm": _product("batch1"),
    "dot": _dot,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_backward": _attention_backward,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_efficient_attention_backward": _attention_backward,
    "_varlen_attn": _segments,
    "_varlen_attn_backward": _segments_backward,
}


def bytes_of(name: str, operation: Any, given: Named, outputs: Sequence[Tensor]) -> int:
    """Bytes that a kernel reads and writes if it meets every element of every tensor once."""
    read, written = size_of(read_by(name, given)), size_of(written_by(operation, given, outputs))
    return 2 * written + read if name in GATHERING else written + read


def read_by(name: str, given: Named) -> list[Tensor]:
    """List the tensors that a kernel reads; of a look-up without the table, whose rows are as many as its output's."""
    read = [tensor for tensor in tree_leaves(dict(given)) if isinstance(tensor, Tensor)]
    return read[1:] if name in GATHERING or name in OVERWRITING else read


def written_by(operation: Any, given: Named, outputs: Sequence[Tensor]) -> list[Tensor]:
    """List the tensors that a kernel writes, each once."""
    changed = _changed(operation, given)
    kept = {id(tensor) for tensor in changed}
    return [*changed, *(tensor for tensor in outputs if id(tensor) not in kept)]


def _changed(operation: Any, given: Named) -> list[Tensor]:
    """List the arguments that an operation writes to."""
    names = [a.name for a in operation._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return [tensor for name in names for tensor in tree_leaves(given[name]) if isinstance(tensor, Tensor)]


def size_of(tensors: Sequence[Tensor]) -> int:
    """Bytes of the elements of tensors; one that is repeated over a dimension (stride 0) counts once there."""
    return sum(_num_stored(tensor) * tensor.element_size() for tensor in tensors if tensor.is_meta)


def _num_stored(tensor: Tensor) -> int:
    if 0 not in tensor.stride():
        return tensor.numel()
    return math.prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not n)


def is_kernel(name: str, given_tensors: Sequence[Tensor], outputs: Sequence[Tensor], operation: Any) -> bool:
    """Whether an operation starts a kernel: it is no view, does more than reserve memory, and is on the GPU."""
    on_device = [tensor for tensor in (*given_tensors, *outputs) if tensor.is_meta]
    if not on_device or name in RESERVING or not sum(tensor.numel() for tensor in on_device):
        return False
    if operation._schema.is_mutable:
        return True
    stored = {tensor.untyped_storage()._cdata for tensor in given_tensors if tensor.is_meta}
    return any(tensor.is_meta and tensor.untyped_storage()._cdata not in stored for tensor in outputs)


def is_half(tensors: Sequence[Tensor]) -> bool:
    """Whether a product is of 16-bit numbers."""
    return any(tensor.dtype in (torch.bfloat16, torch.float16) for tensor in tensors)
