"""What autocasting does to tensors on a GPU, done to tensors without values.

PyTorch casts by the device of a tensor; the meta device has no such rules. They are applied here to calls of torch's
functions, from the lists in its documentation ("CUDA Ops that can autocast to float16/float32").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from evqa.benchmarking.attention import fused_attention

IN_16_BITS = {
    *("linear", "matmul", "__matmul__", "__rmatmul__", "mm", "mv", "bmm", "addmm", "addmv", "addr", "baddbmm"),
    *("addbmm", "einsum", "chain_matmul", "multi_dot", "prelu", "conv1d", "conv2d", "conv3d", "conv_transpose1d"),
    *("conv_transpose2d", "conv_transpose3d", "scaled_dot_product_attention"),
}
IN_FLOAT32 = {
    *("__pow__", "__rpow__", "__rdiv__", "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2"),
    *("log1p", "pow", "reciprocal", "rsqrt", "sinh", "tan", "softplus", "layer_norm", "group_norm", "rms_norm"),
    *("norm", "cosine_similarity", "cross_entropy", "nll_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss"),
    *("mse_loss", "margin_ranking_loss", "soft_margin_loss", "binary_cross_entropy_with_logits", "cdist"),
    *("cosine_embedding_loss", "logsumexp", "interpolate"),
}
SUMMING_IN_FLOAT32 = {"softmax", "log_softmax", "sum", "prod", "cumsum", "cumprod"}  # by their argument `dtype`


class CudaCalls(TorchFunctionMode):
    """Calls of torch's functions as on a GPU: fused attention and dropout, and under autocasting its casts.

    A trained float32 weight is cast once until `forget`, as within one block of autocasting. In the backward pass only
    what is computed again is cast. Autocasting counts as on where torch's own switch for CUDA says so (`autocasting`).
    waits: gets a count of the tensors that are made of values on the device, for which the program waits.
    """

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits
        self._cast_weights: dict[int, Tensor] = {}

    def forget(self) -> None:
        """Drop the weights that were cast: a block of autocasting ends."""
        self._cast_weights.clear()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Cast arguments, choose kernels, call."""
        kwargs, name = dict(kwargs or {}), getattr(function, "__name__", "")
        if _is_casting() and "out" not in kwargs:
            args, kwargs = self._cast(name, args, kwargs)
        if function is functional.scaled_dot_product_attention and args[0].is_meta and args[0].dim() == 4:
            return fused_attention(*args, **kwargs)
        if function is functional.dropout and args[0].is_meta:
            return _dropout(*args, **kwargs)
        if function is torch.tensor and torch.device(kwargs.get("device") or "cpu").type == "meta":
            self.waits["tensor"] += 1
        return function(*args, **kwargs)

    def _cast(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        if name in SUMMING_IN_FLOAT32:
            is_low = isinstance(args[0], Tensor) and args[0].is_meta and args[0].dtype == torch.bfloat16
            return args, (kwargs | {"dtype": torch.float32} if is_low and kwargs.get("dtype") is None else kwargs)
        dtype = torch.bfloat16 if name in IN_16_BITS else torch.float32 if name in IN_FLOAT32 else None
        if dtype is None:
            return args, kwargs
        return [self._as(arg, dtype) for arg in args], {key: self._as(arg, dtype) for key, arg in kwargs.items()}

    def _as(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._as(one, dtype) for one in value)
        if not (isinstance(value, Tensor) and value.is_meta and value.is_floating_point() and value.dtype != dtype):
            return value
        if not (dtype == torch.bfloat16 and value.dtype == torch.float32 and value.is_leaf and value.requires_grad):
            return value.to(dtype)
        if id(value) not in self._cast_weights:
            self._cast_weights[id(value)] = value.to(dtype)
        return self._cast_weights[id(value)]


@contextmanager
def autocasting(*, wanted: bool) -> Iterator[None]:
    """Set torch's own switch for CUDA, which blocks that compute in full precision turn off, for the block."""
    before = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", wanted)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before)


def _is_casting() -> bool:
    """Whether autocasting is on; of a backward pass only in what is computed again, where gradients are recorded."""
    in_backward = torch._C._current_autograd_node() is not None
    return torch.is_autocast_enabled("cuda") and (not in_backward or torch.is_grad_enabled())


def _dropout(value: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    del inplace  # the GPU's kernel writes to new memory all the same
    return torch.native_dropout(value, p, True)[0] if training and p else value
