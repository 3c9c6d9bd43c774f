"""Sizes of a VQA² model: from a checkpoint's `config.json` and the shapes of its motion weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evqa.errors import CheckpointError
from evqa.models.hub import Checkpoint, read_settings
from evqa.models.key_adapter import KeyAdapter
from evqa.models.sizes import PUBLISHED_TOWER, LanguageDims, VisionDims, pick_sizes
from evqa.models.vqa2.layout import ADAPTER, stored_shapes
from evqa.models.vqa2.motion import MotionDims

MODEL_TYPE = "llava_qwen"
GRIDS = tuple((rows, columns) for columns in range(1, 7) for rows in range(1, 7))  # in the published order
MOTION = "motion."


@dataclass(frozen=True, kw_only=True)
class Vqa2Dims:
    """All sizes. vision: its last layer is never run and has no weights. grids: (rows, columns) of an image's tiles."""

    language: LanguageDims = field(default_factory=LanguageDims)
    vision: VisionDims = field(default_factory=VisionDims)
    motion: MotionDims = field(default_factory=MotionDims)
    grids: tuple[tuple[int, int], ...] = GRIDS

    @property
    def num_vision_layers(self) -> int:
        """Layers of the vision tower that are run; all but the last."""
        return self.vision.num_hidden_layers - 1

    @property
    def pinpoints(self) -> list[list[int]]:
        """Heights and widths of the grids, in pixels, as transformers names them."""
        return [[size * self.vision.image_size for size in grid] for grid in self.grids]

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of a video's frame: the patches, halved on both sides and rounded up."""
        return ((self.vision.patches_per_side + 1) // 2) ** 2

    def to_config(self) -> dict[str, Any]:
        """Write the sizes under the names of the published `config.json`, plus the vision tower's own."""
        return {
            "architectures": ["LlavaQwenForCausalLM"],
            "model_type": MODEL_TYPE,
            **asdict(self.language),
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "rope_scaling": None,
            "use_cache": True,
            "image_aspect_ratio": "anyres_max_9",
            "image_crop_resolution": self.vision.image_size,
            "image_split_resolution": self.vision.image_size,
            "image_grid_pinpoints": [[width, height] for height, width in self.pinpoints],
            "mm_hidden_size": self.vision.hidden_size,
            "mm_newline_position": "one_token",
            "mm_patch_merge_type": "spatial_unpad",
            "mm_projector_type": "mlp2x_gelu",
            "mm_spatial_pool_mode": "bilinear",
            "mm_vision_select_feature": "patch",
            "mm_vision_select_layer": -2,
            "mm_vision_tower": f"google/{PUBLISHED_TOWER}",
            "use_mm_proj": True,
            "tokenizer_model_max_length": self.language.max_position_embeddings,
            "tokenizer_padding_side": "right",
            "vision_config": asdict(self.vision),
        }


PUBLISHED = Vqa2Dims()
TINY = Vqa2Dims(
    language=LanguageDims(vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, bos_token_id=256, eos_token_id=258),
    vision=VisionDims(image_size=56, patch_size=8, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                      num_attention_heads=4),
    motion=MotionDims(stem=4, inner=(4, 8, 8, 16), outer=(8, 16, 16, 32), depths=(1, 1, 1, 1)),
)  # fmt: skip


def read_dims(checkpoint: Checkpoint) -> Vqa2Dims:
    """Read a checkpoint's sizes; the published ones where nothing of it is at hand.

    Raises:
        CheckpointError: config.json is missing or describes something else than a VQA² that can be built here.
    """
    if checkpoint.on_paper:
        return PUBLISHED
    path = checkpoint.folder / "config.json"
    config = read_settings(checkpoint, model_type=MODEL_TYPE)
    if problems := _differences(config):
        raise CheckpointError(f"{path}: cannot be built here: " + "; ".join(problems))
    rope = config.get("rope_parameters") or {}
    vision = pick_sizes(VisionDims, _vision_config(config, path), path)
    if vision.num_hidden_layers < 2:
        raise CheckpointError(f"{path}: vision_config.num_hidden_layers must be 2 or more: the last one is never run")
    return Vqa2Dims(
        language=pick_sizes(LanguageDims, {"rope_theta": rope.get("rope_theta", 1e6), **config}, path),
        vision=vision,
        motion=read_motion(checkpoint, ADAPTER),
        grids=_grids(config, vision.image_size, path),
    )


def read_motion(checkpoint: Checkpoint, adapter: KeyAdapter) -> MotionDims:
    """Read the sizes of the motion branch off its weights.

    The published ones, where the weights are not at hand or hold no motion branch (which loading then tells).
    """
    if not checkpoint.has(weights=True):
        return MotionDims()
    stored = stored_shapes(checkpoint, adapter)
    shapes = {name.removeprefix(MOTION): shape for name, shape in stored.items() if name.startswith(MOTION)}
    try:
        return MotionDims.of(shapes)
    except (KeyError, IndexError):
        return MotionDims()


def _differences(config: Mapping[str, Any]) -> list[str]:
    """Say what of a configuration is not the architecture that this package implements."""
    wanted = {
        "hidden_size": ("hidden_size" in config, "a number"),
        "mm_projector_type": (config.get("mm_projector_type", "mlp2x_gelu") == "mlp2x_gelu", "mlp2x_gelu"),
        "mm_spatial_pool_mode": (config.get("mm_spatial_pool_mode", "bilinear") == "bilinear", "bilinear"),
        "mm_newline_position": (config.get("mm_newline_position", "one_token") == "one_token", "one_token"),
        "mm_patch_merge_type": (config.get("mm_patch_merge_type", "spatial_unpad") == "spatial_unpad", "spatial_unpad"),
        "image_aspect_ratio": (config.get("image_aspect_ratio", "anyres_max_9") == "anyres_max_9", "anyres_max_9"),
        "tie_word_embeddings": (not config.get("tie_word_embeddings"), "false"),
        "use_sliding_window": (not config.get("use_sliding_window"), "false"),
        "rope_scaling": (not config.get("rope_scaling"), "null"),
    }
    return [f"{key}={config.get(key)!r} (must be {rule})" for key, (good, rule) in wanted.items() if not good]


def _vision_config(config: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The vision tower's own sizes, where the file has them, or the published tower's by name."""
    if config.get("vision_config"):
        found: Mapping[str, Any] = config["vision_config"]
        return found
    tower = str(config.get("mm_vision_tower", PUBLISHED_TOWER))
    if PUBLISHED_TOWER in tower:
        return {}
    raise CheckpointError(
        f"{path}: mm_vision_tower={tower!r} has unknown sizes. Known: {PUBLISHED_TOWER}; for another SigLIP put its "
        "sizes under 'vision_config'."
    )


def _grids(config: Mapping[str, Any], size: int, path: Path) -> tuple[tuple[int, int], ...]:
    """Turn `image_grid_pinpoints` (width, height in pixels, as LLaVA reads them) into rows and columns of tiles."""
    points = config.get("image_grid_pinpoints")
    if points is None:
        return GRIDS
    is_pairs = isinstance(points, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(one) is int and one > 0 for one in pair)
        for pair in points
    )
    if not is_pairs or not points or any(one % size or one > 64 * size for pair in points for one in pair):
        raise CheckpointError(
            f"{path}: image_grid_pinpoints must be a list of pairs of multiples of {size}, the tile's size"
        )
    return tuple((height // size, width // size) for width, height in points)
