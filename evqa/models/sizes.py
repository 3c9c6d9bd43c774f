"""Sizes of the networks that several models share, SigLIP and Qwen2, as `config.json` names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from evqa.errors import CheckpointError

PUBLISHED_TOWER = "siglip-so400m-patch14-384"
Sizes = TypeVar("Sizes")


@dataclass(frozen=True, kw_only=True)
class LanguageDims:
    """Qwen2; names as in `config.json`. Defaults: Qwen2-7B."""

    vocab_size: int = 152_064
    hidden_size: int = 3584
    intermediate_size: int = 18_944
    num_hidden_layers: int = 28
    num_attention_heads: int = 28
    num_key_value_heads: int = 4
    hidden_act: str = "silu"
    max_position_embeddings: int = 32_768
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    attention_dropout: float = 0.0
    pad_token_id: int | None = None
    bos_token_id: int | None = 151_643
    eos_token_id: int | None = 151_645


@dataclass(frozen=True, kw_only=True)
class VisionDims:
    """SigLIP; names as in its `config.json`. Defaults: so400m, patch 14, 384 pixels."""

    image_size: int = 384
    patch_size: int = 14
    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 27
    num_attention_heads: int = 16
    num_channels: int = 3
    layer_norm_eps: float = 1e-6
    hidden_act: str = "gelu_pytorch_tanh"
    attention_dropout: float = 0.0

    @property
    def patches_per_side(self) -> int:
        """Patches in a row; pixels that do not fill a patch are dropped."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """Patches of one frame."""
        return self.patches_per_side**2


def pick_sizes(kind: type[Sizes], config: Mapping[str, Any], path: Path) -> Sizes:
    """Take the values that a group of sizes knows and check their types; the others keep their defaults.

    Raises:
        CheckpointError: a value of another type than the published one.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    values = {name: config[name] for name in names if name in config}
    default = kind()
    for name, value in values.items():
        if rule := _misfit(getattr(default, name), value):
            raise CheckpointError(f"{path}: {name}={value!r} must be {rule}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _misfit(default: object, value: object) -> str | None:
    """Say what a value of another type than the published one must be; null is a token that is not set."""
    if isinstance(default, bool | str):
        kind = "true or false" if isinstance(default, bool) else "a text"
        return None if isinstance(value, type(default)) else kind
    if isinstance(default, tuple):
        is_whole = isinstance(value, list) and all(type(one) is int for one in value) and len(value) == len(default)
        return None if is_whole else f"a list of {len(default)} whole numbers"
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return "a number"
    return None
