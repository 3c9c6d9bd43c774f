"""What a clip's motion features cost: ours, and both of SlowFast's pathways as the original of VQA² runs them.

# N frames of the stream, n of a chunk, T frames, H, W height and width, C channels
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from evqa.benchmarking.measure import Spread
from evqa.benchmarking.reports import MotionCost, MotionWork
from evqa.benchmarking.slowfast import ALPHA, SlowFast
from evqa.models.pixels import normalise
from evqa.models.vqa2.motion import MotionBranch, MotionDims
from evqa.types import FrameChunks


class HeldFrames:
    """A motion stream that is held in memory, so that nothing but computing is measured: see `FrameChunks`."""

    def __init__(self, frames_NHWC: Tensor) -> None:
        self.frames_NHWC = frames_NHWC
        self.num_frames, self.height, self.width, _ = frames_NHWC.shape
        self.seconds_N = torch.arange(self.num_frames, dtype=torch.float64) / 30

    @classmethod
    def first(cls, stream: FrameChunks, *, at_most: int) -> HeldFrames:
        """Take the first frames of a stream, a multiple of four."""
        frames_NHWC = next(stream.chunks(at_most))
        return cls(frames_NHWC[: len(frames_NHWC) // ALPHA * ALPHA])

    def chunks(self, size: int, *, overlap: int = 0) -> Iterator[Tensor]:
        """Yield them, `size` at a time."""
        for start in range(0, max(self.num_frames - overlap, 1), size - overlap):
            yield self.frames_NHWC[start : start + size]

    def close(self) -> None:
        """Nothing is occupied but memory."""


@torch.inference_mode()
def measure_motion(branch: MotionBranch, stream: FrameChunks, *, at_most: int = 64, rounds: int = 3) -> MotionCost:
    """Compute features of a clip's first frames in turn with one pathway and with both, on the branch's device.

    The original gets frames that are normalised already, which is in its favour.
    """
    held = HeldFrames.first(stream, at_most=at_most)
    pathway = branch.pathway
    original = SlowFast(MotionDims.of({name: weight.shape for name, weight in branch.state_dict().items()}))
    original.to(pathway.device, pathway.dtype)
    pixels_TCHW = normalise(held.frames_NHWC.to(pathway.device)).to(pathway.dtype).contiguous()
    variants: tuple[Callable[[], Tensor], ...] = (lambda: pathway.read(held), lambda: original(pixels_TCHW))
    flops = [_flops(variant) for variant in variants]
    timed = [[_timed_ms(variant, pathway.device) for variant in variants] for _ in range(rounds)]
    ours, originals = zip(*timed, strict=True)
    return MotionCost(
        num_frames=held.num_frames,
        clip_frames=stream.num_frames,
        ours=MotionWork(ms=Spread.of(ours), flops=flops[0]),
        original=MotionWork(ms=Spread.of(originals), flops=flops[1]),
        ratio=Spread.of([theirs / own for own, theirs in timed]),
    )


def _flops(work: Callable[[], Tensor]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def _timed_ms(work: Callable[[], Tensor], device: torch.device) -> float:
    """Wall-clock time; queued work of a GPU is waited for on both sides."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    work()
    wait()
    return 1000 * (time.perf_counter() - started)
