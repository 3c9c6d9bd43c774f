"""Layers compiled one by one by `torch.compile`."""

from __future__ import annotations

from evqa.errors import ConfigError
from evqa.models.base import Model


def compile_blocks(model: Model) -> None:
    """Compile every repeated layer in place, for any length: weights keep their names, layers alike share the code.

    Nothing is compiled before a layer runs for the first time.

    Raises:
        ConfigError: the model has no repeated layers.
    """
    layers = [layer for layers in model.blocks().values() for layer in layers]
    if not layers:
        raise ConfigError([f"trainer.compile=true: {type(model).__name__} has no repeated layers to compile."])
    for layer in layers:
        layer.compile(dynamic=True)
