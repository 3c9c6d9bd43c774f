"""Random weights for a model that is laid out on the meta device."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from evqa.models.shards import shard_for

LANGUAGE_STD = 0.02  # of language model, embeddings and heads, as in the originals
# A larger weight repeats what was drawn: 8 billion numbers take minutes. A prime, so that no two rows are alike.
MOST_DRAWN = 1_048_573


def random_weights(model: nn.Module, *, seed: int, device: torch.device | str, language: tuple[str, ...]) -> None:
    """Give a model random weights that depend on the seed alone; drawn on the CPU, one by one, at most `MOST_DRAWN`.

    language: prefixes of the names that are drawn as language models are.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    for name, parameter in list(model.named_parameters()):
        value = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
        is_language = name.startswith(language) or "embedding" in name or "attention_bias" in name
        whole = _initialise(name, value, generator, is_language=is_language)
        set_parameter(model, name, shard_for(parameter, whole))


def _initialise(name: str, value: Tensor, generator: torch.Generator, *, is_language: bool) -> Tensor:
    """Fill a weight."""
    leaf = name.rpartition(".")[2]
    if leaf == "bias":
        return value.zero_()
    if leaf == "weight_g":  # the norm that a random direction of `weight_v` would have
        return value.fill_(1.0)
    if value.ndim == 1 or leaf == "grep_a":
        return value.fill_(1.0)
    fan_in = value[0].numel()
    drawn = torch.empty(min(value.numel(), MOST_DRAWN), dtype=value.dtype, device="cpu")
    drawn.normal_(0.0, LANGUAGE_STD if is_language else 1.0 / math.sqrt(fan_in), generator=generator)
    drawn = drawn.to(value.device)
    for part in value.view(-1).split(MOST_DRAWN):
        part.copy_(drawn[: len(part)])
    return value


def set_parameter(model: nn.Module, name: str, value: Tensor) -> None:
    """Replace a parameter by one that holds `value` itself, and is frozen where it was."""
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    setattr(module, leaf, nn.Parameter(value, requires_grad=getattr(module, leaf).requires_grad))
