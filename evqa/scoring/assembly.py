"""From a run's plan, and weights that are in place, to a scorer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from evqa.errors import ConfigError
from evqa.media.spec import ClipSpec
from evqa.scoring.calibration import NO_CALIBRATION, FoundCalibration
from evqa.scoring.computation import Computation, find_device
from evqa.scoring.score import Meaning
from evqa.scoring.scorer import Scorer
from evqa.training.batches import Pipeline
from evqa.training.model_with_head import ModelWithHead
from evqa.training.plan import RunPlan
from evqa.training.tuning import merge_adapters


def assemble(
    plan: RunPlan,
    module: ModelWithHead,
    pipeline: Pipeline,
    *,
    device: str = "auto",
    modal: str | None = None,
    training_labels: Sequence[float] = (),
    found: FoundCalibration = NO_CALIBRATION,
) -> Scorer:
    """Make a scorer of a module, which is changed: its adapters are merged, its weights moved and cast.

    Adapters over 4-bit layers stay as they are: merging would round them to 4 bits. device: as in `find_device`.
    modal: the modalities that the pipeline reads, where they are not all that the model was built for. found: its
    calibration, if any.

    Raises:
        ConfigError: this machine does not have the device.
    """
    settings, batches = plan.trainer, plan.data.batches
    computation = Computation(
        device=find_device(device, accelerator=settings.accelerator),
        precision=settings.precision,
        deterministic=settings.deterministic,
    )
    if plan.tuning.method != "qlora":
        merge_adapters(module.model)
    return Scorer(
        module,
        pipeline=pipeline,
        computation=computation,
        meaning=Meaning(
            scale=module.scale,
            training_labels=training_labels,
            calibration=found.calibration,
            uncalibrated=found.problem,
        ),
        modal=modal or plan.modal,
        batch_size=batches.batch_size,
        bucket=batches.bucket,
        workers=batches.num_workers(),
    )


def restricted(spec: ClipSpec, modal: str | None, *, trained: str) -> ClipSpec:
    """Return what to read for a part of the modalities that a model was trained with.

    Raises:
        ConfigError: the model has no vision or audio encoder for it.
    """
    asked = modal or trained
    if asked not in ("a", "v", "av"):
        raise ConfigError([f"--modal {asked}: give a, v or av."])
    if not set(asked) <= set(trained):
        raise ConfigError([f"--modal {asked}: the run was trained with modal={trained}; choose a part of that."])
    return dataclasses.replace(
        spec, frames=spec.frames if "v" in asked else None, audio=spec.audio if "a" in asked else None
    )
