"""From sizes to modules: everything is laid out without memory first, then gets the source's weights or random ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from evqa.models.base import BuildOptions
from evqa.models.random_weights import LANGUAGE_STD, random_weights
from evqa.models.vqa2.dims import Vqa2Dims
from evqa.models.vqa2.layout import ADAPTER
from evqa.models.vqa2.motion import MotionBranch
from evqa.models.weights import build_empty, load_weights

LANGUAGE = ("body.language_model.", "lm_head.")


def build(model: Any, options: BuildOptions, *, seed: int, dtype: str, attention: str, has_motion: bool) -> None:
    """Give a model its parts: `body`, `motion`, `motion_projector` and `lm_head`, None where one is left out.

    model: has `source` and `dims`. seed: of random weights.

    Raises:
        CheckpointError: as `load_weights`.
    """
    from transformers import LlavaOnevisionModel

    dims = model.dims
    model.body = build_empty(LlavaOnevisionModel, to_transformers(dims), dtype=dtype, attention=attention)
    width = dims.language.hidden_size
    with torch.device("meta"):
        model.motion = MotionBranch(dims.motion)
        model.motion_projector = nn.Sequential(
            nn.Linear(dims.motion.outer[-1], width), nn.GELU(), nn.Linear(width, width)
        )
        model.lm_head = nn.Linear(width, dims.language.vocab_size, bias=False)
    for part in (model.motion, model.motion_projector, model.lm_head):
        part.to(getattr(torch, dtype))
    complete = model.state_dict().keys()
    if not has_motion:
        model.motion = model.motion_projector = None
    if not options.logits:
        model.lm_head = None
    options.give_weights(partial(_give_weights, model, complete=complete, seed=seed, device=options.device))


def _give_weights(model: Any, *, complete: Collection[str], seed: int, device: str) -> None:
    if model.source.checkpoint is not None:
        load_weights(model, model.source.checkpoint, ADAPTER, complete=complete, device=device)
    else:
        random_weights(model, seed=seed, device=device, language=LANGUAGE)
        _start_statistics(model)
        _make_teachable(model)
    model.to(device)


def to_transformers(dims: Vqa2Dims) -> Any:
    """Describe a model to transformers: LLaVA-OneVision whose vision tower lacks its last layer."""
    from transformers import LlavaOnevisionConfig, Qwen2Config, SiglipVisionConfig

    vision: dict[str, Any] = asdict(dims.vision)
    vision |= {"num_hidden_layers": dims.num_vision_layers, "vision_use_head": False}
    language: dict[str, Any] = asdict(dims.language)
    language["rope_parameters"] = {"rope_type": "default", "rope_theta": float(language.pop("rope_theta"))}
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**vision),
        text_config=Qwen2Config(**language, use_sliding_window=False, use_cache=False),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        image_grid_pinpoints=dims.pinpoints,
        tie_word_embeddings=False,
    )


def _start_statistics(model: nn.Module) -> None:
    """Let the norms of a random motion branch change nothing."""
    for name, empty in list(model.named_buffers()):
        if empty.is_meta:
            parent, _, leaf = name.rpartition(".")
            value = torch.ones if leaf == "running_var" else torch.zeros
            setattr(model.get_submodule(parent), leaf, value(empty.shape, dtype=empty.dtype, device="cpu"))


@torch.no_grad()
def _make_teachable(model: Any) -> None:
    """Draw random weights nearer to trained ones; as they are, little reaches the answer that could be learned from.

    The language model's matrices get the size that fits its width: .02 is that of 2,500 channels. Kernels of the motion
    branch get the variance that ReLUs keep (He et al., 2015); those over time also the mean 0, so that they answer to
    changes: otherwise a repeated frame hardly shows.
    """
    for matrix in model.body.language_model.parameters():
        if matrix.ndim == 2:
            matrix.mul_(max(1.0, matrix.shape[1] ** -0.5 / LANGUAGE_STD))
    for conv in model.motion.modules() if model.motion is not None else ():
        if isinstance(conv, nn.Conv3d):
            conv.weight.mul_(2**0.5)
            if conv.kernel_size[0] > 1:
                conv.weight.sub_(conv.weight.mean(2, keepdim=True))
