"""The published checkpoint's names: which key holds which parameter, and which keys are never needed."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from evqa.models.videollama2.dims import Dims

# Our module -> the published prefix. The order matters in one direction only: "model." is a prefix of most others.
PREFIXES = {
    "vision_tower": "model.vision_tower.vision_tower.vision_model",
    "mm_projector": "model.mm_projector",
    "audio_tower": "model.audio_tower",
    "mm_projector_a": "model.mm_projector_a",
    "language": "model",
    "lm_head": "lm_head",
}
HEAD = "lm_head_reg."  # LMM-EVQA's regression head: fc1, fc2
SHARED_BIAS = "self_attn.relative_attention_bias.weight"  # one tensor, registered in every BEATs layer
Shape = tuple[int, ...]


def published_name(name: str) -> str:
    """Translate a parameter's name below our model to the published key."""
    module, _, rest = name.partition(".")
    return f"{PREFIXES[module]}.{rest}"


def shared_bias_names(dims: Dims) -> tuple[str, ...]:
    """Return all keys under which a file may hold the position bias of BEATs; ours is the first."""
    layers = range(dims.beats.encoder_layers)
    return tuple(f"model.audio_tower.encoder.layers.{index}.{SHARED_BIAS}" for index in layers)


def used_shapes(parts: nn.Module) -> dict[str, Shape]:
    """Published keys and shapes of everything that the given parts hold."""
    return {published_name(name): tuple(value.shape) for name, value in parts.state_dict().items()}


def unused_shapes(dims: Dims) -> dict[str, Shape]:
    """Published keys and shapes of what is in the files and never influences a score."""
    return _vision_rest(dims) | {
        f"model.audio_tower.predictor.{leaf}": shape
        for leaf, shape in (
            ("weight", (dims.beats.predictor_class, dims.beats.encoder_embed_dim)),
            ("bias", (dims.beats.predictor_class,)),
        )
    }


def head_shapes(dims: Dims) -> dict[str, Shape]:
    """Published keys and shapes of the regression head; in fine-tuned checkpoints only."""
    width = dims.language.hidden_size
    return {
        f"{HEAD}fc1.weight": (width // 2, width),
        f"{HEAD}fc1.bias": (width // 2,),
        f"{HEAD}fc2.weight": (1, width // 2),
        f"{HEAD}fc2.bias": (1,),
    }


def is_buffer(key: str) -> bool:
    """Tell whether a key is a constant that older files carry (position numbers, rotary frequencies)."""
    return key.endswith(("rotary_emb.inv_freq", "embeddings.position_ids"))


def _vision_rest(dims: Dims) -> dict[str, Shape]:
    """The layers after the one whose output is used, the last norm, the pooling head."""
    width, inner, tower = dims.vision.hidden_size, dims.vision.intermediate_size, PREFIXES["vision_tower"]
    shapes: dict[str, Shape] = {}
    for index in range(dims.num_vision_layers, dims.vision.num_hidden_layers):
        layer = f"{tower}.encoder.layers.{index}"
        shapes |= _pairs(f"{layer}.", ("layer_norm1", "layer_norm2"), (width,))
        shapes |= _pairs(f"{layer}.self_attn.", ("q_proj", "k_proj", "v_proj", "out_proj"), (width, width))
        shapes |= _mlp(f"{layer}.mlp.", width, inner)
    shapes |= _pairs(f"{tower}.", ("post_layernorm", "head.layernorm"), (width,))
    shapes |= _pairs(f"{tower}.head.attention.", ("out_proj",), (width, width))
    shapes |= _mlp(f"{tower}.head.mlp.", width, inner)
    return shapes | {
        f"{tower}.head.probe": (1, 1, width),
        f"{tower}.head.attention.in_proj_weight": (3 * width, width),
        f"{tower}.head.attention.in_proj_bias": (3 * width,),
    }


def _pairs(prefix: str, names: Iterable[str], shape: Shape) -> dict[str, Shape]:
    weights = {f"{prefix}{name}.weight": shape for name in names}
    return weights | {f"{prefix}{name}.bias": shape[:1] for name in names}


def _mlp(prefix: str, width: int, inner: int) -> dict[str, Shape]:
    return _pairs(prefix, ("fc1",), (inner, width)) | _pairs(prefix, ("fc2",), (width, inner))
