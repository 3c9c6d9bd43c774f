"""From sizes to modules: everything is laid out on the meta device first, and only what is used gets memory."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from evqa.errors import CheckpointError, EvqaError
from evqa.models.safety import one_line
from evqa.models.videollama2 import layout
from evqa.models.videollama2.beats import Beats
from evqa.models.videollama2.checkpoint import CheckpointFolder, account, check_shape
from evqa.models.videollama2.connector import Connector, readout
from evqa.models.videollama2.dims import Dims
from evqa.models.videollama2.towers import AttentionName, VisionTower, build_language, make_rotary_buffers

INITIAL_STD = 0.02  # of language model, embeddings and heads, as in the original


def build_parts(dims: Dims, *, attention: AttentionName) -> nn.ModuleDict:
    """Lay out all parts on the meta device; they hold no memory until their weights are set.

    Raises:
        CheckpointError: the sizes, which come from the checkpoint, describe nothing that can be built.
    """
    try:
        return _lay_out(dims, attention=attention)
    except EvqaError:
        raise
    except Exception as error:  # of any kind, from within torch and transformers
        raise CheckpointError(f"model.checkpoint: config.json describes no model ({one_line(error)})") from error


def _lay_out(dims: Dims, *, attention: AttentionName) -> nn.ModuleDict:
    language, vision, beats = dims.language, dims.vision, dims.beats
    with torch.device("meta"):
        connector = Connector(vision.hidden_size, language.hidden_size, padding=dims.connector_padding)
        return nn.ModuleDict(
            {
                "vision_tower": VisionTower(dims, attention=attention),
                "mm_projector": connector,
                "audio_tower": Beats(beats, eager=attention == "eager"),
                "mm_projector_a": readout(beats.encoder_embed_dim, language.hidden_size),
                "language": build_language(dims, attention=attention),
                "lm_head": nn.Linear(language.hidden_size, language.vocab_size, bias=False),
            }
        )


def known_shapes(dims: Dims, parts: nn.ModuleDict) -> dict[str, layout.Shape]:
    """Every key of the published layout with its shape; `parts` are all parts, before any is left out."""
    return layout.used_shapes(parts) | layout.unused_shapes(dims) | layout.head_shapes(dims)


def load_weights(
    model: nn.Module, folder: CheckpointFolder, dims: Dims, *, known: set[str], dtype: torch.dtype
) -> None:
    """Give a model on the meta device the weights of a checkpoint, tensor by tensor, on the current default device.

    Raises:
        CheckpointError: keys are missing or unknown, or shapes differ.
    """
    names = {layout.published_name(name): name for name in model.state_dict()}
    shapes = layout.used_shapes(model)
    places = folder.places(names)
    biases = layout.shared_bias_names(dims)
    held = next((name for name in biases if name in places), None)
    if biases[0] in names and held is not None:
        names[held], shapes[held] = names.pop(biases[0]), shapes.pop(biases[0])
    account(shapes, known | set(biases), places, folder=folder.folder)
    keys = {name: key for key, name in names.items()}
    for name, tensor in folder.read(names, places):
        check_shape(keys[name], tensor, shapes[keys[name]], folder=folder.folder)
        set_parameter(model, name, tensor.to(torch.get_default_device(), dtype, copy=True))


def random_weights(model: nn.Module, *, seed: int, dtype: torch.dtype) -> None:
    """Give a model on the meta device random weights that depend on the seed alone, on the current default device."""
    device = torch.get_default_device()
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in list(model.named_parameters()):
        value = torch.empty(parameter.shape, dtype=dtype, device=device)
        set_parameter(model, name, _initialise(name, value, generator))


def _initialise(name: str, value: Tensor, generator: torch.Generator) -> Tensor:
    leaf = name.rpartition(".")[2]
    if leaf == "bias":
        return value.zero_()
    if leaf == "weight_g":  # the norm that a random direction of `weight_v` would have
        return value.fill_(1.0)
    if value.ndim == 1 or leaf == "grep_a":
        return value.fill_(1.0)
    is_language = name.startswith(("language.", "lm_head.")) or "embedding" in name or "attention_bias" in name
    fan_in = value[0].numel()
    return value.normal_(0.0, INITIAL_STD if is_language else 1.0 / math.sqrt(fan_in), generator=generator)


def set_parameter(model: nn.Module, name: str, value: Tensor) -> None:
    """Replace a parameter by one that holds `value` itself."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, nn.Parameter(value))


def make_buffers(model: nn.Module) -> None:
    """Compute the constants that no checkpoint holds, and make sure that nothing is left without memory."""
    for module in model.modules():
        if isinstance(module, VisionTower):
            module.make_buffers()
        if hasattr(module, "rotary_emb"):
            make_rotary_buffers(module)
    left = [name for name, value in [*model.named_parameters(), *model.named_buffers()] if value.is_meta]
    assert not left, f"without memory: {left[:5]}"


def read_head(folder: Path, dims: Dims) -> dict[str, Tensor]:
    """Read the regression head of a fine-tuned checkpoint (float32, keys fc1.weight, ...); empty where it has none.

    Raises:
        CheckpointError: the head is incomplete or has another shape.
    """
    shapes = layout.head_shapes(dims)
    files = CheckpointFolder(folder)
    places = {key: file for key, file in files.places().items() if key in shapes}
    if not places:
        return {}
    account(shapes, shapes, places, folder=folder)
    state = {}
    for name, tensor in files.read({key: key.removeprefix(layout.HEAD) for key in shapes}, places):
        check_shape(layout.HEAD + name, tensor, shapes[layout.HEAD + name], folder=folder)
        state[name] = tensor.to(torch.float32, copy=True)
    return state
