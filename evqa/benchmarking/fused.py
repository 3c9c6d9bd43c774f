"""liger-kernel's kernels on tensors without values: each is one, and reads and writes what Liger's does.

# B batch, H heads, T tokens, K width of a head
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from evqa.models.kernels import Kernels

NAMESPACE = "evqa_counted"
_LIBRARY = torch.library.Library(NAMESPACE, "DEF")


def _define(schema: str, run: Any) -> Any:
    """Make an operation that the counter sees as one kernel."""
    _LIBRARY.define(schema)
    name = schema.partition("(")[0]
    _LIBRARY.impl(name, run, "Meta")
    return getattr(getattr(torch.ops, NAMESPACE), name)


def _nothing(*_: Tensor) -> None:
    pass


def _norm(x: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty(x.shape[:-1], dtype=torch.float32, device=x.device)


# Liger keeps the root of every row, and turns queries, keys and the gradients of MLPs where they lie. The names have a
# beginning of their own, because autocasting goes by names.
_fused_norm = _define("fused_norm(Tensor x, Tensor weight) -> (Tensor, Tensor)", _norm)
_fused_norm_backward = _define(
    "fused_norm_backward(Tensor gradient, Tensor x, Tensor weight, Tensor root) -> Tensor",
    lambda gradient, *_: torch.empty_like(gradient),
)
_fused_gated = _define("fused_gated(Tensor gate, Tensor up) -> Tensor", lambda gate, _: torch.empty_like(gate))
_fused_gated_backward = _define("fused_gated_backward(Tensor gradient, Tensor(a!) gate, Tensor(b!) up) -> ()", _nothing)
_fused_rotation = _define("fused_rotation(Tensor(a!) query, Tensor(b!) key, Tensor cos, Tensor sin) -> ()", _nothing)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, weight: Tensor) -> Tensor:
        normed, root = _fused_norm(hidden, weight)
        ctx.save_for_backward(hidden, weight, root)
        return normed  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        hidden, weight, root = ctx.saved_tensors
        to_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        return _fused_norm_backward(gradient, hidden, weight, root), to_weight


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return _fused_gated(gate, up)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        _fused_gated_backward(gradient, gate, up)
        return gate, up


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, query_BHTK: Tensor, key_BHTK: Tensor, *angles: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*angles)
        return _rotated(query_BHTK, key_BHTK, angles)

    @staticmethod
    def backward(ctx: Any, to_query: Tensor, to_key: Tensor) -> tuple[Tensor | None, ...]:
        return (*_rotated(to_query, to_key, ctx.saved_tensors), None, None)


def _rotated(query_BHTK: Tensor, key_BHTK: Tensor, angles: Any) -> tuple[Tensor, Tensor]:
    query_BTHK, key_BTHK = (tensor.transpose(1, 2).contiguous() for tensor in (query_BHTK, key_BHTK))
    _fused_rotation(query_BTHK, key_BTHK, *angles)
    return query_BTHK.transpose(1, 2), key_BTHK.transpose(1, 2)


def counted_kernels() -> Kernels:
    """Return stand-ins for `evqa.models.kernels.liger_kernels`, without values."""
    return Kernels(
        rms_norm=lambda hidden, weight, _: _Norm.apply(hidden, weight), gated=_Gated.apply, rotary=_Rotary.apply
    )
