"""Running the encoders of Qwen's models: what they are told of sizes is counted on the CPU, where it is known.

transformers asks the device for it, and the program waits for every answer; what is handed in, it does not ask for.

# N patches, G videos or sounds, P values of a patch, M mel bins, C chunks of mel rows, R rows of a chunk
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evqa.models.segments import ATTENTION, Segments


def encode_frames(visual: Any, patches_NP: Tensor, grids: Sequence[int]) -> Any:
    """Run a vision tower on normalised patches; returns transformers' output.

    grids: time, rows and columns of each video, in patches.
    """
    from transformers import vision_utils

    grid_G3 = torch.tensor(grids).view(-1, 3)
    merge = visual.config.spatial_merge_size
    sizes: dict[str, Any] = {"position_ids": vision_utils.get_vision_position_ids(grid_G3, merge)}
    frames = (grid_G3[:, 1] * grid_G3[:, 2]).repeat_interleave(grid_G3[:, 0])
    lengths = {"seqlen": frames.tolist()}
    if hasattr(visual, "window_size"):
        sizes["window_index"], ends_W = vision_utils.get_vision_window_index(
            grid_G3, merge, visual.window_size, visual.patch_size
        )
        lengths["window_seqlen"] = ends_W.diff().tolist()
    if hasattr(visual, "num_grid_per_side"):  # of a table of positions, stretched over each grid
        sizes["interp_indices"], sizes["interp_weights"] = vision_utils.get_vision_interpolation_indices_and_weights(
            grid_G3,
            visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=merge,
        )
    sizes = {name: tensor.to(patches_NP.device, non_blocking=True) for name, tensor in sizes.items()}
    for name, each in lengths.items():
        sizes |= _attention(visual, name, each, patches_NP.device)
    return visual(patches_NP.to(visual.dtype), grid_thw=grid_G3, **sizes)


def encode_sounds(tower: Any, mel_CRM: Tensor, rows: Sequence[int]) -> Tensor:
    """Run an audio tower on the chunks of all sounds; returns their tokens in a row. rows: mel rows of each sound."""
    from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as omni

    longest = 2 * tower.n_window
    chunk_C = torch.tensor([min(longest, total - start) for total in rows for start in range(0, total, longest)])
    sizes = {
        "chunk_lengths": chunk_C,
        "valid_indices": omni.get_valid_indices(chunk_C),
        "pool_indices": omni.get_pool_indices(torch.tensor(rows)),
    }
    convolved = ((chunk_C - 1) // 2 + 1).tolist()
    tokens_ND: Tensor = tower(
        padded_feature=mel_CRM.transpose(1, 2),
        **{name: tensor.to(mel_CRM.device, non_blocking=True) for name, tensor in sizes.items()},
        **_attention(tower, "seqlen", convolved, mel_CRM.device),
    ).last_hidden_state
    return tokens_ND


def _attention(tower: Any, name: str, lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """Name the segments of a tower's attention as transformers does; kernels of its own read where they end."""
    segments = Segments(lengths, device)
    ends = segments if tower.config._attn_implementation == ATTENTION else segments.offsets
    return {f"cu_{name}s": ends, f"max_{name}": segments.longest}
