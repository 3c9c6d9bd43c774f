"""How long a run would take and what it would keep on disk: the part of the cost card that depends on the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from evqa.errors import AnnotationError
from evqa.media.fbank import MEL_BINS, SHIFT
from evqa.media.spec import ClipSpec
from evqa.training.build import BuiltModel
from evqa.training.plan import RunPlan
from evqa.types import SAMPLE_RATE_HZ

# As the recipes reckon: of an H100's dense bf16 products (data sheet, without sparsity) fine-tuning reaches a third.
PEAK, SHARE = 989e12, 0.35
FLOAT, SAMPLE = 4, 2  # bytes of a filter bank's value and of a sample in the cache


@dataclass(frozen=True, kw_only=True)
class Amount:
    """What there is to train on and to read; None where the data cannot be read yet, and `reason` says why."""

    num_train: int | None = None
    num_files: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckpointBytes:
    """Estimated bytes of a checkpoint's weights alone, and of one that can be continued from."""

    weights: int
    whole: int


def amount_of(plan: RunPlan) -> Amount:
    """Read the tables, no media."""
    dataset = plan.data.dataset
    if made := dataset.makes():
        return Amount(reason=f"{made} is not made yet")
    try:
        splits = dataset.load().splits
    except AnnotationError as error:
        return Amount(reason=str(error).splitlines()[0])
    return Amount(
        num_train=len(splits.get("train", ())),
        num_files=sum(len(record.paths) for records in splits.values() for record in records),
    )


def num_steps(plan: RunPlan, num_train: int) -> int:
    """Count the optimizer steps of all epochs, as the trainer does."""
    num_batches = math.ceil(num_train / (plan.data.batches.batch_size * plan.trainer.num_processes))
    return int(math.ceil(num_batches / plan.trainer.accumulate) * plan.trainer.epochs)


def checkpoint_bytes(built: BuiltModel) -> CheckpointBytes:
    """Estimate what is written: what no published base gives again, and two moments of AdamW of what is trained."""
    parts: tuple[tuple[nn.Module, bool], ...] = ((built.model, True), (built.head, False))
    kept = trained = 0
    for module, may_be_published in parts:
        for name, weight in module.named_parameters():
            num_bytes = weight.numel() * weight.element_size()
            published = may_be_published and built.model.is_published(name)
            kept += num_bytes if weight.requires_grad or not published else 0
            trained += num_bytes if weight.requires_grad else 0
    return CheckpointBytes(weights=kept, whole=kept + 2 * trained)


def clip_bytes(spec: ClipSpec) -> int | None:
    """Bytes of a decoded clip in the cache at most; None where they depend on the clip."""
    total = 0
    if spec.frames is not None:
        if not spec.frames.has_fixed_size:
            return None
        total += spec.frames.sampling.usual_count * spec.frames.resize.size**2 * 3
    if spec.audio is not None:
        seconds = 16.0 if spec.audio.policy == "clips_8x2" else spec.audio.horizon_seconds
        if seconds is None:
            return None
        samples = round(seconds * SAMPLE_RATE_HZ)
        total += samples // SHIFT * MEL_BINS * FLOAT if spec.audio_as == "fbank" else samples * SAMPLE
    return total


def duration(seconds: float) -> str:
    """Write a duration as a person says it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
