"""What one process holds of a training whose weights are sharded over several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from evqa.benchmarking.reports import CountedMemory


def held_by_one(whole: CountedMemory, layers: Sequence[nn.Module], *, num_processes: int) -> CountedMemory:
    """Divide weights, gradients and optimizer state; add what is gathered in a step, as `evqa.training.sharding` does.

    That is everything but the layers, and two of these: the one that is computed, and the next on its way.
    """
    sizes, trained = [_size(layer.parameters()) for layer in layers], [_size(_trained(layer)) for layer in layers]
    return CountedMemory(
        weights=whole.weights // num_processes + whole.weights - sum(sizes) + 2 * max(sizes),
        gradients=whole.gradients // num_processes + whole.gradients - sum(trained) + 2 * max(trained),
        optimizer=whole.optimizer // num_processes,
        activations=whole.activations,
    )


def _trained(layer: nn.Module) -> Iterable[nn.Parameter]:
    return (weight for weight in layer.parameters() if weight.requires_grad)


def _size(weights: Iterable[nn.Parameter]) -> int:
    return sum(weight.numel() * weight.element_size() for weight in weights)
