"""The two parts that transformers provides, SigLIP and Qwen2, without what is never run.

# N images, P patches, C channels, H height, W width
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from evqa.errors import MissingDependencyError
from evqa.models.videollama2.dims import Dims

if TYPE_CHECKING:
    from transformers import Qwen2Model

Built = TypeVar("Built")
AttentionName = Literal["sdpa", "flash_attention_2", "eager"]


class VisionTower(nn.Module):
    """SigLIP up to the layer whose output is used: no last layer, no post-norm, no pooling head."""

    def __init__(self, dims: Dims, *, attention: AttentionName) -> None:
        super().__init__()
        from transformers import SiglipVisionConfig, SiglipVisionModel

        sizes: dict[str, Any] = asdict(dims.vision)
        sizes |= {"num_hidden_layers": dims.num_vision_layers, "vision_use_head": False}
        sizes |= {"attn_implementation": attention}
        config = SiglipVisionConfig(**sizes)
        tower = with_attention(attention, lambda: SiglipVisionModel(config))
        self.embeddings, self.encoder = tower.embeddings, tower.encoder

    def forward(self, pixels_NCHW: Tensor) -> Tensor:
        """Return the features of all patches, [N, P, C]."""
        features_NPC: Tensor = self.encoder(self.embeddings(pixels_NCHW)).last_hidden_state
        return features_NPC

    def make_buffers(self) -> None:
        """Compute the buffers that no checkpoint holds, after building on the meta device."""
        num_patches = self.embeddings.num_positions
        self.embeddings.register_buffer("position_ids", torch.arange(num_patches)[None], persistent=False)


def build_language(dims: Dims, *, attention: AttentionName) -> Qwen2Model:
    """Build Qwen2 without its LM head."""
    from transformers import Qwen2Config, Qwen2Model

    sizes: dict[str, Any] = asdict(dims.language)
    rope = {"rope_type": "default", "rope_theta": float(sizes.pop("rope_theta"))}
    sizes |= {"rope_parameters": rope, "use_sliding_window": False, "use_cache": False}
    sizes |= {"attn_implementation": attention}
    config = Qwen2Config(**sizes)
    model: Qwen2Model = with_attention(attention, lambda: Qwen2Model(config))
    return model


def make_rotary_buffers(language: nn.Module) -> None:
    """Compute the rotary frequencies anew in float32, after building on the meta device."""
    kind: Any = type(language.rotary_emb)
    language.rotary_emb = kind(language.config)


def with_attention(attention: AttentionName, build: Callable[[], Built]) -> Built:
    """Build a transformers model; say what is missing where its attention cannot be used."""
    try:
        return build()
    except (ImportError, ValueError) as error:
        if attention != "flash_attention_2":
            raise
        raise MissingDependencyError(
            "model.attention=flash_attention_2 needs the package flash-attn and a CUDA GPU; "
            f"model.attention=sdpa always works ({str(error).splitlines()[0]})"
        ) from error
