"""The part `baseline`: scoring a clip as the published code does, one after the other, and as evqa does.

Both begin with frames and sound in memory. What it takes to get them from a file is left out, in the published code's
favour: it decodes every video twice (`benchmark data` measures that).

# F frames, H height, W width, C channels, S audio samples
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evqa.benchmarking.gpu.bench import Bench
from evqa.benchmarking.gpu.settings import Row
from evqa.benchmarking.made_batch import HEIGHT, WHOLE_SECONDS, WIDTH, batch_of
from evqa.benchmarking.reference import eight_clips, padded_fbank, siglip_preprocess
from evqa.benchmarking.steps import free_memory
from evqa.media.fbank import sound_fbank
from evqa.media.spec import ClipSpec
from evqa.training.batches import load_ahead
from evqa.training.model_with_head import ModelWithHead
from evqa.types import SAMPLE_RATE_HZ, Batch, Clip

WARMUP = 2  # batches
WORKERS = 8


@dataclass(frozen=True)
class DecodedClip:
    """A portrait clip as it comes from a decoder: frames uint8 [F, H, W, C], mono sound of 10 s in -1..1."""

    frames_FHWC: Tensor
    waveform_S: Tensor

    @classmethod
    def make(cls, spec: ClipSpec) -> DecodedClip:
        """Make noise, with as many frames as `spec` asks for."""
        generator = torch.Generator().manual_seed(0)
        count = spec.frames.sampling.usual_count if spec.frames else 0
        return cls(
            frames_FHWC=torch.randint(0, 256, (count, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator),
            waveform_S=0.1 * torch.randn(round(WHOLE_SECONDS * SAMPLE_RATE_HZ), generator=generator),
        )

    def read(self, spec: ClipSpec) -> Clip:
        """Resize and filter as evqa does."""
        assert spec.frames is not None
        assert spec.audio is not None
        resized = [spec.frames.resize.apply(frame_HWC) for frame_HWC in self.frames_FHWC]
        return Clip(
            frames_FHWC=torch.stack(resized),
            seconds_F=torch.arange(len(resized)).double(),
            fbank_RM=sound_fbank(spec.audio.cut(self.waveform_S)),
            seconds=WHOLE_SECONDS,
            num_frames=round(30 * WHOLE_SECONDS),
        )

    def read_as_published(self) -> None:
        """Resize, normalise and filter as the published code does, 30 s of sound."""
        from PIL import Image

        for frame_HWC in self.frames_FHWC:
            siglip_preprocess(Image.fromarray(frame_HWC.numpy()))
        padded_fbank(eight_clips(self.waveform_S))


def baseline(bench: Bench, row: Row) -> dict[str, Any]:
    """Score clips: a batch of one is read and scored in turn, as published; larger ones are read ahead in threads."""
    plan = bench.plan(row)
    built, module = bench.build(plan)
    spec, batch_size = built.model.preparer.clip, plan.data.batches.batch_size
    clip = DecodedClip.make(spec)
    is_published = batch_size == 1
    num_batches = WARMUP + (bench.num_clips if is_published else bench.num_clips // 2)
    make: Callable[[int], Batch]
    if is_published:
        ready = batch_of(built, plan.label, [clip.read(spec)])
        make = partial(_published, clip, ready)
    else:
        make = lambda _: batch_of(built, plan.label, [clip.read(spec) for _ in range(batch_size)])  # noqa: E731
    started = time.perf_counter()
    make(0)
    reading_ms = 1000 * (time.perf_counter() - started) / batch_size
    computation = bench.computation(plan)
    computation.place(module)
    with computation.active():
        batches = load_ahead(make, range(num_batches), workers=0 if is_published else WORKERS)
        seconds = _seconds(module, batches, bench.device)
    free_memory()
    return {
        "samples_per_second": (num_batches - WARMUP) * batch_size / seconds,
        "reading_ms": reading_ms,
        "batch_size": batch_size,
        "num_positions": int(ready.inputs.host["lengths"][0]) if is_published else None,
    }


def _published(clip: DecodedClip, ready: Batch, _: int) -> Batch:
    clip.read_as_published()
    return ready


def _seconds(module: ModelWithHead, batches: Iterator[Batch], device: torch.device) -> float:
    """Score batches, each of which is waited for; the first ones warm up."""
    started = 0.0
    for index, batch in enumerate(batches):
        if index == WARMUP:
            started = time.perf_counter()
        module.values(batch.to(device))
    return time.perf_counter() - started
