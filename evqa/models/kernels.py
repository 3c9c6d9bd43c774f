"""Fused kernels for the norms, the gated MLPs and the rotary positions of transformers' language models.

# B batch, H heads, T tokens, K width of a head, D width, M inner width of an MLP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from evqa.errors import ConfigError, MissingDependencyError
from evqa.models.base import Model

ROTARY = "apply_rotary_pos_emb"  # what transformers' attention calls
GATED = {"gate_proj", "up_proj", "down_proj", "act_fn"}


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Functions that each run as one kernel, forward and backward.

    rms_norm: (hidden [..., D], weight_D, eps) -> its root mean square norm, computed in float32.
    gated: (gate [..., M], up [..., M]) -> silu(gate) * up.
    rotary: (query_BHTK, key_BHTK, cos_BTK, sin_BTK) -> both, turned; its arguments may be overwritten.
    """

    rms_norm: Callable[[Tensor, Tensor, float], Tensor]
    gated: Callable[[Tensor, Tensor], Tensor]
    rotary: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def liger_kernels() -> Kernels:
    """Return the kernels of Liger (Hsu et al., Liger Kernel: Efficient Triton Kernels for LLM Training, 2024).

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        from liger_kernel.ops import LigerRMSNormFunction, LigerRopeFunction, LigerSiLUMulFunction
    except ImportError as error:
        raise MissingDependencyError("trainer.kernels=liger needs liger-kernel: pip install 'evqa[liger]'") from error
    return Kernels(
        # Without an offset, cast as the Llama family casts, and not into the memory of the gradient that it is given.
        rms_norm=lambda hidden, weight, eps: LigerRMSNormFunction.apply(hidden, weight, eps, 0.0, "llama", False),
        gated=LigerSiLUMulFunction.apply,
        rotary=LigerRopeFunction.apply,
    )


def use_kernels(model: Model, kernels: Kernels) -> None:
    """Let the language model's norms, gated MLPs and rotary positions run these kernels; weights stay where they are.

    Raises:
        ConfigError: the model has no such layers.
    """
    places = [one for one in _language_modules(model) if _is_norm(one) or _is_gated(one) or _is_rotary(one)]
    if not places:
        raise ConfigError(
            [f"trainer.kernels: {type(model).__name__} has no layers that fused kernels exist for. Write "
             "trainer.kernels=torch."]
        )  # fmt: skip
    for module in places:
        if _is_norm(module):
            vars(module)["forward"] = partial(_normed, module, kernels.rms_norm)
        elif _is_gated(module):
            vars(module)["forward"] = partial(_gated, module, kernels.gated)
        else:
            vars(module)["forward"] = MethodType(_rotating_by(kernels.rotary, type(module).forward), module)


def _language_modules(model: Model) -> Iterator[nn.Module]:
    for part in model.parts():
        if part.name == "language":
            for prefix in part.prefixes:
                yield from model.get_submodule(prefix).modules()


def _is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")


def _is_gated(module: nn.Module) -> bool:
    names = {name for name, _ in module.named_children()}
    return names == GATED and type(module.act_fn).__name__ in ("SiLU", "SiLUActivation")


def _is_rotary(module: nn.Module) -> bool:
    forward: Any = type(module).forward
    return hasattr(module, "q_proj") and ROTARY in getattr(forward, "__globals__", {})


def _normed(module: Any, rms_norm: Callable[[Tensor, Tensor, float], Tensor], hidden: Tensor) -> Tensor:
    return rms_norm(hidden, module.weight, module.variance_epsilon)


def _gated(module: Any, gated: Callable[[Tensor, Tensor], Tensor], hidden_BTD: Tensor) -> Tensor:
    output_BTD: Tensor = module.down_proj(gated(module.gate_proj(hidden_BTD), module.up_proj(hidden_BTD)))
    return output_BTD


def _rotating_by(rotary: Callable[..., Any], forward: Any) -> FunctionType:
    """Copy an attention's forward function with another function under the name by which it turns its arguments.

    The function's module, and with it every other model, stays as it is. `torch.compile` would look the name up in that
    module, were it not for the missing `__name__`.
    """
    names = {name: value for name, value in forward.__globals__.items() if name != "__name__"} | {ROTARY: rotary}
    copied = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    copied.__kwdefaults__ = forward.__kwdefaults__
    return copied
