"""VQA²'s Qwen2.5-VL variant: Qwen2.5-VL's twin with a small motion branch, and weights that nothing reads."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from evqa.models.vqa2.motion import MotionBranch, MotionDims
from tests.models.twins import qwen2_5_vl

MOTION = MotionDims(stem=4, inner=(4, 8, 8, 16), outer=(8, 16, 16, 32), depths=(1, 1, 2, 1), num_positions=None)
WIDTH = 32  # of the language model


def write(folder: Path) -> dict:
    """Write a tiny random checkpoint; returns keyword arguments for the model."""
    arguments = qwen2_5_vl.write(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        branch = MotionBranch(MOTION).state_dict()
        projector = torch.nn.Sequential(torch.nn.Linear(32, WIDTH), torch.nn.GELU(), torch.nn.Linear(WIDTH, WIDTH))
        stored = {published(name): tensor for name, tensor in branch.items()}
        stored |= {f"slowfast_projector.{name}": tensor for name, tensor in projector.state_dict().items()}
        stored |= {
            "slowfast.feature_extraction.0.multipathway_blocks.0.conv.weight": torch.randn(8, 3, 1, 7, 7),
            "slowfast.feature_extraction.0.multipathway_fusion.conv_fast_to_slow.weight": torch.randn(8, 4, 7, 1, 1),
            "slowfast.position_embedding.weight": torch.randn(20, 32),
        }
    path = folder / "model.safetensors"
    save_file(load_file(path) | stored, path, {"format": "pt"})
    return arguments


def published(name: str) -> str:
    """The published key of a weight of the fast pathway, `pathway.blocks.<i>.<rest>`."""
    _, _, block, rest = name.split(".", 3)
    return f"slowfast.feature_extraction.{block}.multipathway_blocks.1.{rest}"
