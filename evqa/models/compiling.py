"""Layers and connectors compiled one by one by `torch.compile`."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from evqa.errors import ConfigError
from evqa.models.base import Model

VARIANTS = 64  # of one function: its layers by kind, with gradients or without; torch stops compiling behind 8


def compile_blocks(model: Model) -> None:
    """Compile what `compiled_units` lists, in place and for any length: weights keep their names.

    Units alike share the code. Nothing is compiled before a unit runs for the first time.

    Raises:
        ConfigError: the model has no repeated layers.
    """
    units = compiled_units(model)
    if not units:
        raise ConfigError([f"trainer.compile=true: {type(model).__name__} has no repeated layers to compile."])
    _allow_variants()
    for unit in units:
        unit.compile(dynamic=True)


def compiled_units(model: Model) -> tuple[nn.Module, ...]:
    """List the repeated layers of all parts, the blocks of connectors, and what connectors hold beside these."""
    layers = [layer for layers in model.blocks().values() for layer in layers]
    connecting = (unit for connector in _connectors(model) for unit in _units_of(connector))
    return (*layers, *(unit for unit in connecting if all(unit is not layer for layer in layers)))


def _connectors(model: Model) -> Iterator[nn.Module]:
    """Yield the largest modules whose weights are all of connectors."""
    parts = (part for part in model.parts() if part.name.endswith("connector"))
    prefixes = tuple(prefix for part in parts for prefix in part.prefixes)

    def below(module: nn.Module, path: str) -> Iterator[nn.Module]:
        for name, child in module.named_children():
            weights = [f"{weight}." for weight, _ in child.named_parameters(f"{path}{name}")]
            if weights and all(weight.startswith(tuple(f"{prefix}." for prefix in prefixes)) for weight in weights):
                yield child
            else:
                yield from below(child, f"{path}{name}.")

    return below(model, "")


def _units_of(module: nn.Module) -> Iterator[nn.Module]:
    """Divide a connector where it holds blocks by number or name; a single product leaves nothing to join."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        yield from module.children()
    elif any(isinstance(one, nn.ModuleList | nn.ModuleDict) for one in module.modules()):
        for child in module.children():
            yield from _units_of(child)
    elif any(True for _ in module.children()):
        yield module


def _allow_variants() -> None:
    """Let layers of different kinds that run one function all be compiled: transformers' run one wrapper."""
    from torch._dynamo import config

    config.cache_size_limit = max(config.cache_size_limit, VARIANTS)  # `recompile_limit` from torch 2.7 on
