"""A model with its head: the scores it gives, and what of it a checkpoint holds. Training adds the rest (`module`).

# B batch
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from evqa.errors import CheckpointError
from evqa.heads.base import Head
from evqa.models.base import Model
from evqa.models.shards import shard_for
from evqa.training.tuning import is_adapter, part_of
from evqa.types import Batch, LabelScale

METADATA = "evqa"  # key of our own entries in a checkpoint


class ModelWithHead(nn.Module):
    """All that scoring needs; scale: that of the labels, which is the scores' own."""

    def __init__(self, model: Model, head: Head, scale: LabelScale) -> None:
        super().__init__()
        self.model, self.head, self.scale = model, head, scale

    def values(self, batch: Batch) -> list[float | str]:
        """Score every item of a batch in the labels' own scale, or say why an item has no score."""
        if not len(batch):
            return []
        reading = self.head.score(self.model, batch.inputs)
        units = reading.score_B.tolist()
        return [reading.reasons.get(index) or self.scale.from_unit(unit) for index, unit in enumerate(units)]

    def named_trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Pair every trained parameter with the name that learning rates are given by."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                yield ("lora" if is_adapter(name) else part_of(self.model, name)), parameter
        for parameter in self.head.parameters():
            yield "head", parameter

    def hold_in_bfloat16(self) -> None:
        """Hold weights in bfloat16, those of head and adapters apart: it would lose their small steps, and ranks."""
        exact = {
            weight: weight.data
            for name, weight in self.named_parameters()
            if name.startswith("head.") or is_adapter(name)
        }
        self.to(torch.bfloat16)
        for weight, data in exact.items():
            weight.data = data

    def kept(self) -> dict[str, Tensor]:
        """Name what a checkpoint holds: what was trained, buffers, and frozen weights that no published base has.

        Layers in 4 bits are left out: their adapters fit the base in full precision too, which follows from the seed.
        """
        weights = {
            name: weight
            for name, weight in self.named_parameters()
            if weight.requires_grad or not (self._is_published(name) or hasattr(weight, "quant_state"))
        }
        return weights | dict(self.named_buffers())

    def _is_published(self, name: str) -> bool:
        return name.startswith("model.") and self.model.is_published(name.removeprefix("model."))

    def load_trained(self, checkpoint: dict[str, Any]) -> None:
        """Take over the weights of a checkpoint.

        Frozen weights that it lacks (it was made before they were kept, or in 4 bits) stay as the seed made them.

        Raises:
            CheckpointError: as `check_fits`.
        """
        self.check_fits(checkpoint)
        places = self.state_dict(keep_vars=True)
        state = {name: shard_for(places[name], whole) for name, whole in checkpoint["state_dict"].items()}
        self.load_state_dict(state, strict=False)

    def check_fits(self, checkpoint: dict[str, Any]) -> None:
        """Compare the weights of a checkpoint with those that one of this run holds.

        Raises:
            CheckpointError: weights are missing, unexpected, or of another shape.
        """
        kept, state = self.kept(), checkpoint["state_dict"]
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        missing, unexpected = sorted(trained - state.keys()), sorted(state.keys() - kept.keys())
        wrong = [name for name in kept.keys() & state.keys() if not _alike(kept[name], state[name])]
        if missing or unexpected or wrong:
            raise CheckpointError(
                f"the checkpoint does not fit the model: missing {missing[:5]} ({len(missing)}), unexpected "
                f"{unexpected[:5]} ({len(unexpected)}), other shapes {wrong[:5]} ({len(wrong)})"
            )


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()
