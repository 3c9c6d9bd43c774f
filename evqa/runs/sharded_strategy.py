"""Lightning's strategy for weights that are sharded over processes: checkpoints are those of one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.optim import Optimizer

from evqa.models.shards import shard_for, whole_of
from evqa.training.callbacks.checkpoint_files import read_checkpoint
from evqa.training.module import ScoreModule


class ShardedStrategy(ModelParallelStrategy):
    """Shards over all processes (`evqa.training.sharding`); writes and reads one file, tensor by tensor.

    A tensor is put together on all processes at a time, and kept in the memory of the first one's machine until the
    file is written. Reading, each takes its slices out of the file.
    """

    def __init__(self, num_processes: int) -> None:
        super().__init__(data_parallel_size=num_processes, tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning hands the optimizer's state over, instead of leaving the file to torch."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Put together what a checkpoint holds of the weights, on the CPU; empty but in the first process."""
        module = self._module()
        kept, seen = module.kept(), dict[int, Tensor | None]()
        state = {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if name in kept}
        return self._first_only({name: self._together(tensor, seen) for name, tensor in state.items()})

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Put together the optimizer's state in the same way."""
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        found = optimizer.state_dict()
        state = {
            number: {name: self._together(value, {}) for name, value in values.items()}
            for number, values in found["state"].items()
        }
        return self._first_only(found | {"state": state})

    def _together(self, tensor: Tensor, seen: dict[int, Tensor | None]) -> Tensor | None:
        """Put a tensor together; weights that several names share are one tensor again. seen: by their identity."""
        if id(tensor) not in seen:
            whole = whole_of(tensor.detach())
            seen[id(tensor)] = whole.cpu() if self.is_global_zero else None
        return seen[id(tensor)]

    def _first_only(self, state: dict[str, Any]) -> dict[str, Any]:
        return state if self.is_global_zero else {}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint as one process does; what it holds stays in the file until it is taken."""
        return read_checkpoint(Path(self.broadcast(checkpoint_path)), mapped=True)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's slices of the weights."""
        self._module().load_trained(dict(checkpoint))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's slices of the optimizer's state."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            state = {
                number: {
                    name: shard_for(weights[number], value) if value.shape == weights[number].shape else value
                    for name, value in values.items()
                }
                for number, values in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": state})

    def _module(self) -> ScoreModule:
        assert isinstance(self.lightning_module, ScoreModule)
        return self.lightning_module
