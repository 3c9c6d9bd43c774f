"""From sizes to modules: everything is laid out on the meta device first, and only what is used gets memory."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from evqa.errors import CheckpointError, EvqaError
from evqa.models.random_weights import random_weights
from evqa.models.safety import one_line
from evqa.models.source import Source
from evqa.models.videollama2.beats import Beats
from evqa.models.videollama2.connector import Connector, readout
from evqa.models.videollama2.dims import Dims
from evqa.models.videollama2.layout import key_adapter
from evqa.models.videollama2.towers import AttentionName, VisionTower, build_language, make_rotary_buffers
from evqa.models.weights import load_weights


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


def give_weights(
    model: nn.Module, source: Source[Dims], *, complete: Collection[str], seed: int, device: torch.device | str
) -> None:
    """Give a model on the meta device its source's weights, or random ones, and compute its constants.

    complete: names of everything that the source may hold; seed: of random weights.

    Raises:
        CheckpointError: as `load_weights`.
    """
    if source.checkpoint is None:
        random_weights(model, seed=seed, device=device, language=("language.", "lm_head."))
    else:
        load_weights(model, source.checkpoint, key_adapter(source.dims), complete=complete, device=device)
    make_buffers(model)
    model.to(device)
    if torch.device(device).type != "meta":
        left = [name for name, value in [*model.named_parameters(), *model.named_buffers()] if value.is_meta]
        assert not left, f"without memory: {left[:5]}"


def make_buffers(model: nn.Module) -> None:
    """Compute the constants that no checkpoint holds: on the CPU, so that they are the same everywhere."""
    for module in model.modules():
        if isinstance(module, VisionTower):
            module.make_buffers()
        if hasattr(module, "rotary_emb"):
            make_rotary_buffers(module)
