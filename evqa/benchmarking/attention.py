"""Attention as a GPU computes it, in one kernel that keeps no matrix of weights, on tensors without values.

# B batch, H heads, T queries, S keys, K width of a head
"""

from __future__ import annotations

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)


def fused_attention(
    query_BHTK: Tensor,
    key_BHSK: Tensor,
    value_BHSK: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Choose the kernel as `scaled_dot_product_attention` does: flash without a mask in 16 bits, else efficient.

    Arguments are those of torch's function; keys and values may have fewer heads (`enable_gqa`).
    """
    if attn_mask is None and query_BHTK.dtype in HALVES:
        flash = torch.ops.aten._scaled_dot_product_flash_attention
        return _first(flash(query_BHTK, key_BHSK, value_BHSK, dropout_p, is_causal, scale=scale))
    if enable_gqa:  # this kernel has as many key heads as query heads
        times = query_BHTK.shape[1] // key_BHSK.shape[1]
        key_BHSK, value_BHSK = (tensor.repeat_interleave(times, dim=1) for tensor in (key_BHSK, value_BHSK))
    learns = torch.is_grad_enabled()
    bias = None if attn_mask is None else _bias_of(attn_mask, query_BHTK, num_keys=key_BHSK.shape[2])
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    return _first(efficient(query_BHTK, key_BHSK, value_BHSK, bias, learns, dropout_p, is_causal, scale=scale))


def _bias_of(mask: Tensor, query_BHTK: Tensor, *, num_keys: int) -> Tensor:
    """Turn truth values into what is added to the logits, as torch does in a kernel of its own before the attention."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query_BHTK.dtype).masked_fill_(mask.logical_not(), -torch.inf)
    return mask.expand(*query_BHTK.shape[:-1], num_keys)


def _first(outputs: tuple[Tensor, ...]) -> Tensor:
    return outputs[0]
