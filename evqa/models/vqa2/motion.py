"""VQA²'s motion branch: the fast pathway of SlowFast-R50 (Feichtenhofer et al., ICCV 2019), one vector a frame.

The original runs both pathways and keeps the fast one's output. Lateral connections lead from the fast to the slow
pathway only, so the slow one changes nothing; it is not built. Module names are those of the published weights.

A clip is read in chunks. Every convolution over time keeps the last frames that it has seen, so that a chunk goes on
where the one before ended: the same arithmetic as for the whole clip, nothing twice, whatever the chunks' size. (Chunks
with a halo of 18 frames on either side, half the receptive field, would give the same at 1 + 36 / size of the cost.)

# T frames, C channels, H, W height and width
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from evqa.errors import PromptError
from evqa.models.pixels import normalise
from evqa.types import FrameChunks

CHUNK = 64  # frames at a time; about where chunks of a long clip and what is kept between them are equally large
CHUNK_ON_CPU = 8  # what stays in the processor's caches takes two thirds of the time of a large chunk
Past = tuple[Tensor, ...]  # for every convolution over time, in order, the last frames of its input


@dataclass(frozen=True, kw_only=True)
class MotionDims:
    """Sizes of the fast pathway and of the table of positions; the published ones are the defaults.

    stem: channels behind the first convolution. inner, outer: channels within and behind the blocks of the four stages.
    depths: blocks in each. num_positions: rows of the table; None where a model has none.
    """

    stem: int = 8
    inner: tuple[int, ...] = (8, 16, 32, 64)
    outer: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    num_positions: int | None = 2000

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]]) -> MotionDims:
        """Read them off the shapes of a `MotionBranch`'s weights, by name."""
        stages = [f"pathway.blocks.{stage}.res_blocks." for stage in range(1, 5)]
        positions = shapes.get("position_embedding.weight")
        return cls(
            stem=shapes["pathway.blocks.0.conv.weight"][0],
            inner=tuple(shapes[f"{stage}0.branch2.conv_a.weight"][0] for stage in stages),
            outer=tuple(shapes[f"{stage}0.branch2.conv_c.weight"][0] for stage in stages),
            depths=tuple(
                sum(key.startswith(stage) and key.endswith(".conv_c.weight") for key in shapes) for stage in stages
            ),
            num_positions=positions[0] if positions else None,
        )


class SeenFrames:
    """One chunk on its way through the layers, with the frames that each layer kept of the chunk before.

    past: None for a clip's first chunk. kept: the same for the next chunk, filled layer by layer.
    """

    def __init__(self, past: Past | None, *, is_last: bool) -> None:
        self._past, self._is_last = past, is_last
        self.kept: list[Tensor] = []

    def widen(self, new_TCHW: Tensor, *, reach: int) -> Tensor:
        """Put in front what was kept of the chunk before; where the clip begins and ends, `reach` frames of zeros."""
        zeros = new_TCHW.new_zeros(reach, *new_TCHW.shape[1:])
        before = zeros if self._past is None else self._past[len(self.kept)]
        wide_TCHW = torch.cat([before, new_TCHW, zeros] if self._is_last else [before, new_TCHW])
        self.kept.append(wide_TCHW[-2 * reach :].clone())
        return wide_TCHW


def convolve(frames_TCHW: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> Tensor:
    """Convolve and normalise, without padding in time: a kernel of k frames gives T - k + 1 of them.

    The norm has its stored statistics in training too, because a batch's own would be those of a single clip. Sums of
    2D convolutions would take a third less time on a CPU, and lose the last bits: features reach some hundreds, and
    this is the original's arithmetic bit for bit.
    """
    stride, padding = conv.stride[1:], conv.padding[1:]
    if len(frames_TCHW) < conv.kernel_size[0]:  # none comes out
        return functional.conv2d(frames_TCHW[:0], conv.weight[:, :, 0], None, stride, padding)
    hidden_1CTHW = functional.conv3d(frames_TCHW.transpose(0, 1)[None], conv.weight, None, (1, *stride), (0, *padding))
    hidden_1CTHW = functional.batch_norm(
        hidden_1CTHW, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
    )
    return hidden_1CTHW[0].transpose(0, 1)


class Stem(nn.Module):
    """The first convolution, over 5 frames, and pooling: a quarter of height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, channels, (5, 7, 7), stride=(1, 2, 2), padding=(2, 3, 3), bias=False)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, frames_TCHW: Tensor, seen: SeenFrames) -> Tensor:
        """Return those frames whose neighbours have come."""
        hidden_TCHW = convolve(seen.widen(frames_TCHW, reach=2), self.conv, self.norm).relu_()
        return functional.max_pool2d(hidden_TCHW, 3, stride=2, padding=1)


class MotionBottleneck(nn.Module):
    """Three convolutions: over 3 frames, over 3 x 3 pixels, and back to the outer channels."""

    def __init__(self, channels: int, *, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(channels, inner, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = nn.Conv3d(inner, inner, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False)
        self.norm_b = nn.BatchNorm3d(inner)
        self.conv_c = nn.Conv3d(inner, outer, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(outer)

    def forward(self, wide_TCHW: Tensor) -> Tensor:
        """Return two frames less than it is given."""
        hidden_TCHW = convolve(wide_TCHW, self.conv_a, self.norm_a).relu_()
        hidden_TCHW = convolve(hidden_TCHW, self.conv_b, self.norm_b).relu_()
        return convolve(hidden_TCHW, self.conv_c, self.norm_c)


class ResidualBlock(nn.Module):
    """A bottleneck beside a shortcut, which has a convolution of its own where the channels change."""

    def __init__(self, channels: int, *, inner: int, outer: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.branch1_conv = nn.Conv3d(channels, outer, 1, stride=(1, stride, stride), bias=False) if projects else None
        self.branch1_norm = nn.BatchNorm3d(outer) if projects else None
        self.branch2 = MotionBottleneck(channels, inner=inner, outer=outer, stride=stride)

    def forward(self, hidden_TCHW: Tensor, seen: SeenFrames) -> Tensor:
        """Return those frames whose neighbours have come."""
        wide_TCHW = seen.widen(hidden_TCHW, reach=1)
        shortcut_TCHW = wide_TCHW[1:-1]
        if self.branch1_conv is not None and self.branch1_norm is not None:
            shortcut_TCHW = convolve(shortcut_TCHW, self.branch1_conv, self.branch1_norm)
        total_TCHW: Tensor = self.branch2(wide_TCHW).add_(shortcut_TCHW).relu_()
        return total_TCHW


class Stage(nn.Module):
    """Residual blocks of one width; the first brings the frames to it and, from the second stage on, halves them."""

    def __init__(self, channels: int, *, inner: int, outer: int, depth: int, stride: int) -> None:
        super().__init__()
        first = ResidualBlock(channels, inner=inner, outer=outer, stride=stride, projects=True)
        others = [ResidualBlock(outer, inner=inner, outer=outer, stride=1, projects=False) for _ in range(depth - 1)]
        self.res_blocks = nn.ModuleList([first, *others])

    def forward(self, hidden_TCHW: Tensor, seen: SeenFrames) -> Tensor:
        """Run the blocks."""
        for block in self.res_blocks:
            hidden_TCHW = block(hidden_TCHW, seen)
        return hidden_TCHW


class FastPathway(nn.Module):
    """All frames of a clip to one vector each, of `dims.outer[-1]` channels."""

    def __init__(self, dims: MotionDims) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Stem(dims.stem)])
        channels = dims.stem
        for index, (inner, outer, depth) in enumerate(zip(dims.inner, dims.outer, dims.depths, strict=True)):
            stride = 1 if index == 0 else 2
            self.blocks.append(Stage(channels, inner=inner, outer=outer, depth=depth, stride=stride))
            channels = outer

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of the features."""
        return self._weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._weight.device

    @property
    def _weight(self) -> Tensor:
        return next(self.parameters())

    def forward(self, frames_TCHW: Tensor) -> Tensor:
        """Map a whole clip, values in -1 ... 1, to features [T, C]; all activations are held at once."""
        features_TC, _ = self._advance(frames_TCHW, None, is_last=True)
        return features_TC

    def read(self, stream: FrameChunks, *, chunk: int | None = None, recompute: bool = True) -> Tensor:
        """Map a clip to features [T, C], `chunk` frames at a time, in memory that hardly grows with its length.

        recompute: where something is learned here, a chunk's activations are computed again in the backward pass; its
        frames, uint8, and what the layers keep of it stay until then. Otherwise all activations stay.
        """
        learns = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.parameters())
        chunk = chunk or (CHUNK if learns or self.device.type != "cpu" else CHUNK_ON_CPU)
        features: list[Tensor] = []
        past, num_left = None, stream.num_frames
        for frames_THWC in stream.chunks(chunk):
            num_left -= len(frames_THWC)
            given = (frames_THWC, past, num_left == 0)
            again = learns and recompute
            new_TC, past = checkpoint(self._take, *given, use_reentrant=False) if again else self._take(*given)
            features.append(new_TC)
        return torch.cat(features)

    def _take(self, frames_THWC: Tensor, past: Past | None, is_last: bool) -> tuple[Tensor, Past]:
        return self._advance(normalise(frames_THWC.to(self.device, non_blocking=True)), past, is_last=is_last)

    def _advance(self, frames_TCHW: Tensor, past: Past | None, *, is_last: bool) -> tuple[Tensor, Past]:
        """Return the features of those frames whose 18 followers have come, and what the next chunk needs."""
        seen = SeenFrames(past, is_last=is_last)
        hidden_TCHW = frames_TCHW.to(self.dtype, memory_format=torch.channels_last)
        for block in self.blocks:
            hidden_TCHW = block(hidden_TCHW, seen)
        return hidden_TCHW.mean((2, 3)), tuple(seen.kept)


class MotionBranch(nn.Module):
    """The fast pathway and, where the model has one, its learned table of positions."""

    def __init__(self, dims: MotionDims) -> None:
        super().__init__()
        self.pathway = FastPathway(dims)
        num_positions = dims.num_positions
        self.position_embedding = nn.Embedding(num_positions, dims.outer[-1]) if num_positions else None

    def forward(self, stream: FrameChunks, *, chunk: int | None = None, recompute: bool = True) -> Tensor:
        """Return one vector a frame, [T, C], with the frame's position (its number in the stream) added.

        chunk, recompute: as `FastPathway.read`.

        Raises:
            PromptError: there are more frames than positions.
        """
        table = self.position_embedding
        if table is None:
            return self.pathway.read(stream, chunk=chunk, recompute=recompute)
        if stream.num_frames > table.num_embeddings:
            raise PromptError(
                f"a motion stream has {stream.num_frames} frames, more than the {table.num_embeddings} positions that "
                "this model has learned; raise model.motion.stride, lower model.motion.at_most, or cut the video"
            )
        return self.pathway.read(stream, chunk=chunk, recompute=recompute) + table.weight[: stream.num_frames]

    def idle(self, frames_TCHW: Tensor) -> Tensor:
        """Return features [T, C] of a few frames that nobody needs, so that all weights get a gradient."""
        features_TC: Tensor = self.pathway(frames_TCHW)
        return features_TC if self.position_embedding is None else features_TC + self.position_embedding.weight[:1]
