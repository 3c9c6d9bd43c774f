"""Sizes of a VideoLLaMA2 model, read from a checkpoint's `config.json`; the published 7B model is the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evqa.errors import CheckpointError
from evqa.models.hub import Checkpoint, read_settings
from evqa.models.safety import check_config, file_of, read_foreign, without_code
from evqa.models.sizes import PUBLISHED_TOWER, LanguageDims, VisionDims, pick_sizes

MODEL_TYPE = "videollama2_qwen2"
CONNECTOR_PADDING = {"stc_connector_v35": 0, "stc_connector": 1}


@dataclass(frozen=True, kw_only=True)
class BeatsDims:
    """BEATs; names as in its own configuration. Defaults: iter3+, which the original hard-codes.

    Only what is built is listed; the dropouts of the original are all zero.
    """

    input_patch_size: int = 16
    embed_dim: int = 512
    conv_bias: bool = False
    encoder_layers: int = 12
    encoder_embed_dim: int = 768
    encoder_ffn_embed_dim: int = 3072
    encoder_attention_heads: int = 12
    layer_wise_gradient_decay_ratio: float = 0.6
    encoder_layerdrop: float = 0.05
    conv_pos: int = 128
    conv_pos_groups: int = 16
    num_buckets: int = 320
    max_distance: int = 800
    predictor_class: int = 527


# What this implementation is; a configuration that says otherwise is refused.
BEATS_KIND = {"layer_norm_first": False, "deep_norm": True, "relative_position_embedding": True, "gru_rel_pos": True,
              "activation_fn": "gelu"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Dims:
    """All sizes. select_layer: which hidden state of the vision tower is used (-2: the last layer is never run)."""

    language: LanguageDims = field(default_factory=LanguageDims)
    vision: VisionDims = field(default_factory=VisionDims)
    beats: BeatsDims = field(default_factory=BeatsDims)
    connector: str = "stc_connector_v35"
    select_layer: int = -2
    max_text_tokens: int = 2048

    @property
    def num_vision_layers(self) -> int:
        """Layers of the vision tower that are run."""
        return self.select_layer if self.select_layer >= 0 else self.vision.num_hidden_layers + 1 + self.select_layer

    @property
    def connector_padding(self) -> int:
        """Padding of the connector's 3-D convolution."""
        return CONNECTOR_PADDING[self.connector]

    def to_config(self) -> dict[str, Any]:
        """Write the sizes under the names of the published `config.json`, plus the two towers' own."""
        return {
            "architectures": ["Videollama2Qwen2ForCausalLM"],
            "model_type": MODEL_TYPE,
            **asdict(self.language),
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "use_cache": True,
            "use_mm_proj": True,
            "mm_vision_tower": f"google/{PUBLISHED_TOWER}",
            "mm_vision_select_layer": self.select_layer,
            "mm_vision_select_feature": "patch",
            "mm_projector_type": self.connector,
            "mm_hidden_size": self.vision.hidden_size,
            "mm_audio_tower": "audio_tower.bin",
            "mm_projector_a_type": "mlp2x_gelu",
            "mm_hidden_size_a": self.beats.encoder_embed_dim,
            "hidden_size_a": self.language.hidden_size,
            "tokenizer_model_max_length": self.max_text_tokens,
            "tokenizer_padding_side": "right",
            "vision_config": asdict(self.vision),
            "beats_config": {**asdict(self.beats), **BEATS_KIND},
        }


PUBLISHED = Dims()
TINY = Dims(
    language=LanguageDims(vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, bos_token_id=256, eos_token_id=258),
    vision=VisionDims(image_size=56, patch_size=8, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                      num_attention_heads=4),
    beats=BeatsDims(embed_dim=32, encoder_layers=2, encoder_embed_dim=48, encoder_ffn_embed_dim=96,
                    encoder_attention_heads=4, conv_pos=16, conv_pos_groups=4, num_buckets=32, max_distance=40,
                    predictor_class=5),
)  # fmt: skip


def read_dims(checkpoint: Checkpoint) -> Dims:
    """Read a checkpoint's sizes; the published ones where nothing of it is at hand.

    Raises:
        CheckpointError: config.json is missing or describes something else than a VideoLLaMA2 that can be built here.
    """
    if checkpoint.on_paper:
        return PUBLISHED
    path = checkpoint.folder / "config.json"
    config = read_settings(checkpoint, model_type=MODEL_TYPE)
    if problems := _differences(config):
        raise CheckpointError(f"{path}: cannot be built here: " + "; ".join(problems))
    vision = _vision_config(config, checkpoint)
    rope = config.get("rope_parameters") or {}
    dims = Dims(
        language=pick_sizes(LanguageDims, {"rope_theta": rope.get("rope_theta", 1e6), **config}, path),
        vision=pick_sizes(VisionDims, vision, path),
        beats=pick_sizes(BeatsDims, config.get("beats_config") or {}, path),
        connector=config.get("mm_projector_type", "stc_connector_v35"),
        select_layer=config.get("mm_vision_select_layer", -2),
        max_text_tokens=config.get("tokenizer_model_max_length") or 2048,
    )
    if not 1 <= dims.num_vision_layers <= dims.vision.num_hidden_layers:
        layers = f"the vision tower has {dims.vision.num_hidden_layers} layers"
        raise CheckpointError(f"{path}: mm_vision_select_layer={dims.select_layer} names none of them: {layers}")
    return dims


def _differences(config: Mapping[str, Any]) -> list[str]:
    """Say what of a configuration is not the architecture that this package implements."""
    beats = config.get("beats_config") or {}
    wanted = {
        "hidden_size": ("hidden_size" in config, "a number"),
        "mm_projector_type": (str(config.get("mm_projector_type", "stc_connector_v35")) in CONNECTOR_PADDING,
                              " or ".join(CONNECTOR_PADDING)),
        "mm_vision_select_feature": (config.get("mm_vision_select_feature", "patch") == "patch", "patch"),
        "tie_word_embeddings": (not config.get("tie_word_embeddings"), "false"),
        "use_sliding_window": (not config.get("use_sliding_window"), "false"),
        "rope_scaling": (not config.get("rope_scaling"), "null"),
    }  # fmt: skip
    problems = [f"{key}={config.get(key)!r} (must be {rule})" for key, (good, rule) in wanted.items() if not good]
    kinds = ((key, value) for key, value in BEATS_KIND.items() if beats.get(key, value) != value)
    return problems + [f"beats_config.{key}={beats[key]!r} (must be {value!r})" for key, value in kinds]


def _vision_config(config: Mapping[str, Any], checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Find the vision tower's sizes: in this file, in the tower's folder beside it, or the published ones by name."""
    if config.get("vision_config"):
        found: Mapping[str, Any] = config["vision_config"]
        return found
    tower = str(config.get("mm_vision_tower", PUBLISHED_TOWER))
    name = Path(tower).name
    if name not in ("", "..") and (checkpoint.folder / name / "config.json").exists():
        with checkpoint.about():
            path = file_of(file_of(checkpoint.folder, name), "config.json")
            inner = without_code(read_foreign(path))
            check_config(path, inner, num_tensors=checkpoint.num_tensors())
        return inner.get("vision_config") or inner
    if PUBLISHED_TOWER in tower:
        return {}
    raise CheckpointError(
        f"{checkpoint.folder / 'config.json'}: mm_vision_tower={tower!r} has unknown sizes. Known: {PUBLISHED_TOWER}; "
        f"for another SigLIP put its sizes under 'vision_config', or its folder beside the file."
    )
