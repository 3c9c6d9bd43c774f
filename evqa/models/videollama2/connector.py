"""VideoLLaMA2's spatial-temporal convolution connector (Cheng et al., VideoLLaMA 2, 2024, section 3.2).

Two stages of RegNet bottlenecks (Radosavovic et al., 2020; as timm's RegStage builds them) around a 3-D convolution
that halves time, height and width, then an MLP. Module names are those of the published weights.

# B batch, F frames, P patches, N images, C channels, H height, W width, T tokens, D width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of every pixel.

    eps is 1e-5: timm replaces the LayerNorm2d that the connector asks for (1e-6) by one with torch's default.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Normalise."""
        pixels_NHWC = image_NCHW.permute(0, 2, 3, 1)
        normed = functional.layer_norm(pixels_NHWC, self.weight.shape, self.weight, self.bias, 1e-5)
        return normed.permute(0, 3, 1, 2)


class ConvNorm(nn.Module):
    """Convolution without bias, channel norm, optionally SiLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, groups: int = 1, active: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.bn = ChannelNorm(channels_out)
        self.active = active

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Convolve, normalise, activate."""
        normed: Tensor = self.bn(self.conv(image_NCHW))
        return functional.silu(normed) if self.active else normed


class SqueezeExcite(nn.Module):
    """Channel weights from the image's mean."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Weigh the channels."""
        mean_NC11 = image_NCHW.mean((2, 3), keepdim=True)
        gate: Tensor = self.fc2(functional.silu(self.fc1(mean_NC11))).sigmoid()
        return image_NCHW * gate


class Bottleneck(nn.Module):
    """1x1, depth-wise 3x3, squeeze-excite, 1x1, shortcut. The reduction counts the block's input channels."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels_in, channels, 1, active=True)
        self.conv2 = ConvNorm(channels, channels, 3, groups=channels, active=True)
        self.se = SqueezeExcite(channels, round(channels_in * 0.25))
        self.conv3 = ConvNorm(channels, channels, 1, active=False)
        different = channels_in != channels
        self.downsample = ConvNorm(channels_in, channels, 1, active=False) if different else nn.Identity()

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Run the block."""
        inner = self.conv3(self.se(self.conv2(self.conv1(image_NCHW))))
        return functional.silu(inner + self.downsample(image_NCHW))


class RegStage(nn.ModuleDict):
    """Bottlenecks named b1, b2, ... `gradient_checkpointing` recomputes them in the backward pass."""

    def __init__(self, channels_in: int, channels: int, *, depth: int) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        for index in range(depth):
            self.add_module(f"b{index + 1}", Bottleneck(channels if index else channels_in, channels))

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Run all blocks."""
        for block in self.children():
            if self.training and self.gradient_checkpointing and torch.is_grad_enabled():
                image_NCHW = checkpoint(block, image_NCHW, use_reentrant=False)
            else:
                image_NCHW = block(image_NCHW)
        return image_NCHW


def readout(width_in: int, width: int, *, depth: int = 2) -> nn.Sequential:
    """Linear layers with exact GELU between them, numbered as in the published weights (0, 2, ...)."""
    layers: list[nn.Module] = [nn.Linear(width_in, width)]
    for _ in range(1, depth):
        layers += [nn.GELU(), nn.Linear(width, width)]
    return nn.Sequential(*layers)


class Connector(nn.Module):
    """Patch features of a clip -> tokens of the language model.

    padding: of the 3-D convolution; 0 in `stc_connector_v35` (an odd last frame, row or column is dropped), 1 in the
    older `stc_connector`.
    """

    def __init__(self, width_in: int, width: int, *, padding: int, depth: int = 4) -> None:
        super().__init__()
        self.padding = padding
        self.s1 = RegStage(width_in, width, depth=depth)
        self.sampler = nn.Sequential(nn.Conv3d(width, width, 2, stride=2, padding=padding), nn.SiLU())
        self.s2 = RegStage(width, width, depth=depth)
        self.readout = readout(width, width)

    def num_tokens(self, num_frames: int, num_patches: int) -> int:
        """Count the tokens of a clip."""
        side = math.isqrt(num_patches)
        return self._halved(num_frames) * self._halved(side) ** 2

    def _halved(self, length: int) -> int:
        return (length + 2 * self.padding) // 2

    def forward(self, features_BFPC: Tensor) -> Tensor:
        """Map patch features [B, F, P, C] to tokens [B, T, D]; P must be a square."""
        num_frames, side = features_BFPC.shape[1], math.isqrt(features_BFPC.shape[2])
        image_NCHW = features_BFPC.reshape(-1, side, side, features_BFPC.shape[-1]).permute(0, 3, 1, 2)
        staged_NCHW = self.s1(image_NCHW)
        clip_BCFHW = staged_NCHW.reshape(-1, num_frames, *staged_NCHW.shape[1:]).transpose(1, 2)
        small_BCFHW = self.sampler(clip_BCFHW)
        image_NCHW = self.s2(small_BCFHW.transpose(1, 2).flatten(0, 1))
        pixels_NTC = image_NCHW.flatten(2).transpose(1, 2)
        tokens_BTC = pixels_NTC.reshape(len(features_BFPC), -1, pixels_NTC.shape[-1])
        tokens_BTD: Tensor = self.readout(tokens_BTC)
        return tokens_BTD
