"""Weights, gradients and the optimizer's state sharded over processes (FSDP2 of torch; Zhao et al., VLDB 2023).

Every layer of the language model is a unit: its weights are gathered from all processes when it is computed, and let go
behind it. All the rest (towers, connectors, embeddings, head) is one unit more, gathered for the whole step.

Processes exchange a layer's weights when each of them comes to it, so that all must come to the same layers in the same
order, forwards and backwards, whatever they hold: media or none, nothing that could be read, fewer batches to validate.
The layers of a language model are passed once, in order, in every forward pass, which cannot be said of the towers.

# B batch, T tokens, D width
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

Value = TypeVar("Value")


class ShardedWeights:
    """The units of a module that is sharded, and what keeps processes together.

    layers_as: the type that layers are gathered and computed in; None for the one that they are held in. Gradients are
    averaged in float32, and the other unit's weights are gathered as they are held, for float32 heads.
    """

    def __init__(
        self, module: nn.Module, layers: Sequence[nn.Module], *, mesh: DeviceMesh, layers_as: torch.dtype | None
    ) -> None:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

        # Inputs are left to autocasting, which decides for every operation, as it does without shards.
        policy = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
        for layer in layers:
            fully_shard(layer, mesh=mesh, mp_policy=dataclasses.replace(policy, param_dtype=layers_as))
            vars(layer)["pass_by"] = _pass_by
            register_fsdp_forward_method(layer, "pass_by")
        self.root, self.module, self.layers = fully_shard(module, mesh=mesh, mp_policy=policy), module, layers
        self.root.set_reduce_scatter_unused_params(True)  # zeros: a process without sound trains the others' audio, too
        self._device = torch.device(mesh.device_type)
        layers[0].register_forward_pre_hook(self._before_first, prepend=True)
        register_fsdp_forward_method(module, "training_step")

    @torch.no_grad()
    def begin(self) -> None:
        """Go through all units once: torch takes note of the weights that were read, and of how units are nested."""
        from torch.distributed.fsdp import register_fsdp_forward_method

        members = vars(self.module)
        members["begin"] = self.pass_by
        register_fsdp_forward_method(self.module, "begin")
        members["begin"]()
        self.root.reshard()

    def pass_by(self) -> Tensor:
        """Come to all layers as a forward pass does, without anything to compute; returns 0, learning nothing."""
        value = torch.zeros((), device=self._device, requires_grad=torch.is_grad_enabled())
        for layer in self.layers:
            value = layer.pass_by(value)  # type: ignore[operator]
        return value

    def open(self) -> None:
        """Gather the unit of all that is no layer, for forward passes outside of training steps."""
        self.root.unshard()

    @torch.no_grad()
    def close(self) -> None:
        """Pass by the layers as long as another process computes, and let go of what `open` gathered."""
        while self._somebody_computes(False):
            self.pass_by()
        self.root.reshard()

    def _before_first(self, layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before every forward pass. In training, let it go back through the layers even if nothing below is trained.

        Outside of it processes make different numbers of passes: say that here is one more.
        """
        if not torch.is_grad_enabled():
            self._somebody_computes(True)
            return None
        hidden_BTD, *others = arguments
        return arguments if hidden_BTD.requires_grad else (hidden_BTD.detach().requires_grad_(), *others)

    def _somebody_computes(self, here: bool) -> bool:
        """Whether any process is about to make a forward pass."""
        count = torch.tensor(int(here), device=self._device)
        torch.distributed.all_reduce(count)
        return bool(count)


def _pass_by(value: Tensor) -> Tensor:
    """Stand in for the layer's forward pass: its weights come and go, and nothing is computed."""
    return value * 1.0


def in_step(shards: ShardedWeights | None, values: Iterable[Value]) -> Iterator[Value]:
    """Hand on what forward passes give, as long as this process has any; then wait for the others."""
    if shards is None:
        yield from values
        return
    shards.open()
    yield from values
    shards.close()
