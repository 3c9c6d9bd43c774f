"""The published checkpoint's keys: which of them holds which weight, and which are never needed."""

from __future__ import annotations

from collections.abc import Iterable

from evqa.models.key_adapter import KeyAdapter
from evqa.models.videollama2.dims import Dims

# Our module -> the published prefix.
PREFIXES = {
    "vision_tower": "model.vision_tower.vision_tower.vision_model",
    "mm_projector": "model.mm_projector",
    "audio_tower": "model.audio_tower",
    "mm_projector_a": "model.mm_projector_a",
    "language": "model",
    "lm_head": "lm_head",
}
SIDE_FILES = ("audio_tower.bin", "mm_projector_a.bin", "mm_projector.bin")  # may hold what the main files lack
HEAD = "lm_head_reg."  # LMM-EVQA's regression head: fc1, fc2
SHARED_BIAS = "self_attn.relative_attention_bias.weight"  # one tensor, registered in every BEATs layer
Shape = tuple[int, ...]


def key_adapter(dims: Dims) -> KeyAdapter:
    """Return the two-way translation between our names and the keys of a checkpoint of these sizes."""
    bias, *copies = (f"model.audio_tower.encoder.layers.{i}.{SHARED_BIAS}" for i in range(dims.beats.encoder_layers))
    return KeyAdapter(
        prefixes=tuple(PREFIXES.items()),
        unused=tuple(unused_shapes(dims)),
        copies=((bias, tuple(copies)),),
        side_files=SIDE_FILES,
        head=HEAD,
    )


def unused_shapes(dims: Dims) -> dict[str, Shape]:
    """Published keys and shapes of what is in the files and never influences a score."""
    return _vision_rest(dims) | {
        f"model.audio_tower.predictor.{leaf}": shape
        for leaf, shape in (
            ("weight", (dims.beats.predictor_class, dims.beats.encoder_embed_dim)),
            ("bias", (dims.beats.predictor_class,)),
        )
    }


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
