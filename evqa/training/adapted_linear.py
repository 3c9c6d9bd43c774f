"""A frozen linear layer with its low-rank adapter, computed in bfloat16 without passes over what it returns.

# N positions, D width of the input, E width of the output, R rank
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

BF16 = torch.bfloat16


class AdaptedProduct(torch.autograd.Function):
    """`x W' + bias + s (x A') B'` (Hu et al., LoRA, ICLR 2022, equation 3), and its gradients but for W and bias.

    The adapter's product is added inside its own matrix kernel, forward to the layer's output and backward to its
    input's gradient. There it is not rounded to bfloat16 before the sum. The scale is put on the narrow `x A'`.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x_ND: Tensor, weight_ED: Tensor, bias_E: Tensor | None, a_RD: Tensor, b_ER: Tensor, s: float
    ) -> Tensor:
        """Compute; all tensors are of one type."""
        output_NE = functional.linear(x_ND, weight_ED, bias_E)
        narrow_NR = functional.linear(x_ND, a_RD) * s
        ctx.save_for_backward(x_ND, narrow_NR, weight_ED, a_RD, b_ER)
        ctx.s = s  # type: ignore[attr-defined]
        return output_NE.addmm_(narrow_NR, b_ER.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_NE: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of input and adapter."""
        x_ND, narrow_NR, weight_ED, a_RD, b_ER = ctx.saved_tensors
        narrow_gradient_NR = (gradient_NE @ b_ER) * ctx.s
        gradient_ND = None
        if ctx.needs_input_grad[0]:
            gradient_ND = (gradient_NE @ weight_ED).addmm_(narrow_gradient_NR, a_RD)
        return gradient_ND, None, None, narrow_gradient_NR.t() @ x_ND, gradient_NE.t() @ narrow_NR, None


class AdaptedLinear(Linear):
    """peft's adapted linear layer for models that only ever compute under autocasting; its own forward pass else.

    It has no dropout, and the layer below it is frozen. The adapter's weights stay in float32.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the layer; what autocasting would cast is cast here, because it leaves in-place operations alone."""
        if self.merged or self.disable_adapters or self.base_layer.weight.requires_grad:
            result: Tensor = super().forward(x, *args, **kwargs)
            return result
        (name,) = self.active_adapters
        base, a, b = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
        bias = None if base.bias is None else base.bias.to(BF16)
        output_NE: Tensor = AdaptedProduct.apply(
            x.to(BF16).flatten(0, -2), base.weight.to(BF16), bias, a.to(BF16), b.to(BF16), self.scaling[name]
        )
        output: Tensor = output_NE.unflatten(0, x.shape[:-1])
        return output
