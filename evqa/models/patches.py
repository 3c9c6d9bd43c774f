"""Cutting frames into the patches that Qwen's vision towers read; exact to transformers' `Qwen2VLVideoProcessor`.

# F frames, H height, W width, C channels, N patches, P values of a patch, G videos of a batch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evqa.media.resize import Resize
from evqa.models.encoding import encode_frames
from evqa.types import Clip, Inputs, Prepared

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Sizes of a patch: `size` pixels a side, `merge` patches a side and `temporal` frames become one token."""

    size: int
    merge: int
    temporal: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    @staticmethod
    def of(vision: Any, **statistics: tuple[float, float, float]) -> Patches:
        """Read the sizes from a vision configuration."""
        return Patches(
            size=vision.patch_size, merge=vision.spatial_merge_size, temporal=vision.temporal_patch_size, **statistics
        )

    def resize(self, min_pixels: int, max_pixels: int, *, exact: bool = False) -> Resize:
        """Ask for frames whose sides are whole tokens, within a budget of pixels a frame."""
        side = self.size * self.merge
        return Resize(mode="budget", min_pixels=min_pixels, max_pixels=max_pixels, multiple=side, exact=exact)

    def cut(self, frames_FHWC: Tensor) -> tuple[Tensor, Tensor]:
        """Return uint8 patches [N, P] in the tower's order and the grid (time, height, width) in patches.

        The last frame is repeated where the number of frames is no multiple of `temporal`. Raises ValueError where
        the frames are not whole tokens (they were read with another `ClipSpec`).
        """
        num_frames, height, width, channels = frames_FHWC.shape
        side = self.size * self.merge
        if height % side or width % side:
            raise ValueError(f"frames of {height}x{width} pixels: both sides must be multiples of {side}")
        missing = -num_frames % self.temporal
        frames_FHWC = torch.cat([frames_FHWC, frames_FHWC[-1:].expand(missing, -1, -1, -1)])
        time, rows, columns = len(frames_FHWC) // self.temporal, height // side, width // side
        blocks = frames_FHWC.permute(0, 3, 1, 2).reshape(
            time, self.temporal, channels, rows, self.merge, self.size, columns, self.merge, self.size
        )
        patches = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        grid_3 = torch.tensor([time, rows * self.merge, columns * self.merge])
        return patches.reshape(int(grid_3.prod()), -1), grid_3

    def normalise(self, patches_NP: Tensor) -> Tensor:
        """Map uint8 patches to float32 as the official processor does: rescaling folded into mean and deviation."""
        repeats = patches_NP.shape[1] // 3
        mean_P, std_P = (
            (255.0 * torch.tensor(values)).repeat_interleave(repeats).to(patches_NP.device, non_blocking=True)
            for values in (self.mean, self.std)
        )
        return (patches_NP.float() - mean_P) / std_P

    def encode(self, visual: Any, inputs: Inputs) -> Any:
        """Run a transformers model's vision tower on all patches of a batch; returns its output."""
        return encode_frames(visual, self.normalise(inputs["patches_NP"]), inputs.host["grids"])

    def token_grid(self, grid_3: Tensor) -> tuple[int, int, int]:
        """Count the tokens of a grid along time, height and width."""
        time, rows, columns = grid_3.tolist()
        return time, rows // self.merge, columns // self.merge

    def black_token(self, visual: Any, device: torch.device) -> Tensor:
        """Run a vision tower on the smallest input, so that distributed ranks stay in step."""
        patches_NP = torch.zeros(self.merge**2, 3 * self.temporal * self.size**2, device=device)
        features = encode_frames(visual, patches_NP, (1, self.merge, self.merge))
        return torch.cat([features.pooler_output, *getattr(features, "deepstack_features", ())])

    def tokens_of_clip(self, num_frames: int, resize: Resize, *, height: int = 854, width: int = 480) -> int:
        """Estimate the tokens of a clip; the size is that of a common portrait video."""
        rows, columns = (side // (self.size * self.merge) for side in resize.target_hw(height, width))
        return -(-num_frames // self.temporal) * rows * columns

    def prepare(self, clip: Clip, *, seconds_per_grid: float | None) -> Prepared:
        """Cut a clip's frames; `seconds_per_grid` replaces the time that one grid step really spans."""
        assert clip.frames_FHWC is not None
        patches_NP, grid_3 = self.cut(clip.frames_FHWC)
        spacing = frame_spacing(clip.seconds_F) * self.temporal if seconds_per_grid is None else seconds_per_grid
        return {"patches_NP": patches_NP, "grid_3": grid_3, "seconds_per_grid": spacing}


def frame_spacing(seconds_F: Tensor | None) -> float:
    """Return the mean time between frames in seconds; 1.0 where it is unknown or there is one frame."""
    if seconds_F is None or len(seconds_F) < 2:
        return 1.0
    return float(seconds_F[-1] - seconds_F[0]) / (len(seconds_F) - 1)


def collate_patches(items: Sequence[Prepared]) -> Inputs:
    """Concatenate the patches of all videos of a batch; their grids stay on the CPU. Empty where there is none."""
    if not items:
        return Inputs()
    grids = torch.stack([item["grid_3"] for item in items])
    return Inputs(
        tensors={"patches_NP": torch.cat([item["patches_NP"] for item in items])},
        host={"grids": tuple(grids.flatten().tolist())},
    )
