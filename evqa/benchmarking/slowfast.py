"""SlowFast-R50 as VQA² runs it, both pathways at once, for comparison only; nothing else uses it.

After Feichtenhofer et al. (ICCV 2019) and the layout of the published weights; the slow pathway sees the first quarter
of a clip's frames, as in VQA². With weights of its own it computes what `FastPathway` computes, at ten times the cost.

# T frames, C channels, H, W height and width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from evqa.models.vqa2.motion import MotionDims

ALPHA, BETA_INVERSE = 4, 8  # the slow pathway has a quarter of the frames and eight times the channels


class PlainStem(nn.Module):
    """Convolution over so many frames, norm, pooling."""

    def __init__(self, channels: int, *, frames: int) -> None:
        super().__init__()
        padding = (frames // 2, 3, 3)
        self.conv = nn.Conv3d(3, channels, (frames, 7, 7), stride=(1, 2, 2), padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, frames_1CTHW: Tensor) -> Tensor:
        """Return a quarter of height and width."""
        return functional.max_pool3d(self.norm(self.conv(frames_1CTHW)).relu_(), (1, 3, 3), (1, 2, 2), (0, 1, 1))


class PlainBottleneck(nn.Module):
    """Three convolutions; the first one over so many frames."""

    def __init__(self, channels: int, *, inner: int, outer: int, frames: int, stride: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(channels, inner, (frames, 1, 1), padding=(frames // 2, 0, 0), bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = nn.Conv3d(inner, inner, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False)
        self.norm_b = nn.BatchNorm3d(inner)
        self.conv_c = nn.Conv3d(inner, outer, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(outer)

    def forward(self, hidden_1CTHW: Tensor) -> Tensor:
        """Return as many frames."""
        hidden_1CTHW = self.norm_a(self.conv_a(hidden_1CTHW)).relu_()
        hidden_1CTHW = self.norm_b(self.conv_b(hidden_1CTHW)).relu_()
        output_1CTHW: Tensor = self.norm_c(self.conv_c(hidden_1CTHW))
        return output_1CTHW


class PlainBlock(nn.Module):
    """A bottleneck beside a shortcut, which has a convolution in a stage's first block."""

    def __init__(
        self, channels: int, *, inner: int, outer: int, frames: int, stride: int, projects: bool = False
    ) -> None:
        super().__init__()
        self.branch2 = PlainBottleneck(channels, inner=inner, outer=outer, frames=frames, stride=stride)
        self.branch1_conv = nn.Conv3d(channels, outer, 1, stride=(1, stride, stride), bias=False) if projects else None
        self.branch1_norm = nn.BatchNorm3d(outer) if projects else None

    def forward(self, hidden_1CTHW: Tensor) -> Tensor:
        """Return as many frames."""
        shortcut_1CTHW = hidden_1CTHW
        if self.branch1_conv is not None and self.branch1_norm is not None:
            shortcut_1CTHW = self.branch1_norm(self.branch1_conv(hidden_1CTHW))
        total_1CTHW: Tensor = shortcut_1CTHW + self.branch2(hidden_1CTHW)
        return total_1CTHW.relu_()


class PlainStage(nn.Module):
    """Residual blocks of one width."""

    def __init__(self, channels: int, *, inner: int, outer: int, depth: int, frames: int, stride: int) -> None:
        super().__init__()
        blocks = [PlainBlock(channels, inner=inner, outer=outer, frames=frames, stride=stride, projects=True)]
        blocks += [PlainBlock(outer, inner=inner, outer=outer, frames=frames, stride=1) for _ in range(depth - 1)]
        self.res_blocks = nn.Sequential(*blocks)

    def forward(self, hidden_1CTHW: Tensor) -> Tensor:
        """Run the blocks."""
        output_1CTHW: Tensor = self.res_blocks(hidden_1CTHW)
        return output_1CTHW


class Lateral(nn.Module):
    """From the fast pathway to the slow one: every fourth frame, of seven around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(
            channels, 2 * channels, (7, 1, 1), stride=(ALPHA, 1, 1), padding=(3, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(2 * channels)

    def forward(self, slow_1CTHW: Tensor, fast_1CTHW: Tensor) -> Tensor:
        """Put it behind the slow pathway's channels."""
        return torch.cat([slow_1CTHW, self.norm(self.conv_fast_to_slow(fast_1CTHW)).relu_()], dim=1)


class Level(nn.Module):
    """One stage of both pathways and, but for the last one, what leads from the fast to the slow."""

    def __init__(self, slow: nn.Module, fast: nn.Module, lateral: Lateral | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = lateral

    def forward(self, slow_1CTHW: Tensor, fast_1CTHW: Tensor) -> tuple[Tensor, Tensor]:
        """Run both pathways."""
        slow, fast = self.multipathway_blocks
        slow_1CTHW, fast_1CTHW = slow(slow_1CTHW), fast(fast_1CTHW)
        if self.multipathway_fusion is not None:
            slow_1CTHW = self.multipathway_fusion(slow_1CTHW, fast_1CTHW)
        return slow_1CTHW, fast_1CTHW


class SlowFast(nn.Module):
    """Both pathways with random weights; `dims` are those of the fast one. Norms have their stored statistics."""

    def __init__(self, dims: MotionDims) -> None:
        super().__init__()
        wide = BETA_INVERSE
        first = Level(PlainStem(wide * dims.stem, frames=1), PlainStem(dims.stem, frames=5), Lateral(dims.stem))
        levels, channels = [first], dims.stem
        for index, (inner, outer, depth) in enumerate(zip(dims.inner, dims.outer, dims.depths, strict=True)):
            sizes = {"depth": depth, "stride": 1 if index == 0 else 2}
            slow_channels, slow_frames = (wide + 2) * channels, 1 if index < 2 else 3
            slow = PlainStage(slow_channels, inner=wide * inner, outer=wide * outer, frames=slow_frames, **sizes)
            fast = PlainStage(channels, inner=inner, outer=outer, frames=3, **sizes)
            levels.append(Level(slow, fast, Lateral(outer) if index + 1 < len(dims.depths) else None))
            channels = outer
        self.feature_extraction = nn.ModuleList(levels)
        self.eval()

    def forward(self, frames_TCHW: Tensor) -> Tensor:
        """Map a clip, values in -1 ... 1, to the fast pathway's features [T, C]; T is a multiple of four."""
        fast_1CTHW = frames_TCHW.transpose(0, 1)[None]
        slow_1CTHW = fast_1CTHW[:, :, : math.ceil(len(frames_TCHW) / ALPHA)]
        for level in self.feature_extraction:
            slow_1CTHW, fast_1CTHW = level(slow_1CTHW, fast_1CTHW)
        return fast_1CTHW[0].mean((2, 3)).T
