"""The arithmetic of a step of a run, counted on tensors without values."""

from __future__ import annotations

from collections.abc import Callable

from evqa.benchmarking.count import CountedStep, StepCounter
from evqa.benchmarking.step_report import Arithmetic
from evqa.training.build import build_model
from evqa.training.model_with_head import ModelWithHead
from evqa.training.plan import RunPlan
from evqa.training.tuning import merge_adapters
from evqa.types import Batch

CountBatch = Callable[[RunPlan, Batch], Arithmetic]


def training_work(plan: RunPlan, batch: Batch, num_recomputed: int) -> Arithmetic:
    """Count a training step on a batch. Raises RunError where the recipe cannot be counted."""
    counter = StepCounter(plan, build_model(plan, load=False), batch)
    counter.built.model.recompute_layers(num_recomputed)
    return _arithmetic(counter.step(), batch)


def scoring_work(plan: RunPlan, batch: Batch) -> Arithmetic:
    """Count the forward pass over a batch that is scored. Raises RunError where the model asks for values."""
    counter = StepCounter(plan, build_model(plan, load=False), batch)
    merge_for_scoring(plan, counter.module)
    return _arithmetic(counter.forward(), batch)


def merge_for_scoring(plan: RunPlan, module: ModelWithHead) -> None:
    """Merge adapters where a scorer does (`evqa.scoring.assembly`): not into 4-bit layers."""
    if plan.tuning.method != "qlora":
        merge_adapters(module.model)


def _arithmetic(step: CountedStep, batch: Batch) -> Arithmetic:
    done = sum(kernel.flops for kernel in step.kernels)
    again = sum(kernel.flops for kernel in step.kernels if kernel.phase == "again")
    return Arithmetic(model=(done - again) / len(batch), done=done / len(batch))
