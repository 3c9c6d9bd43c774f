"""`benchmark train` and `benchmark score`: the speed of steps, what they are spent on, and how long they wait for data.

# B batch
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor

from evqa.benchmarking.card_state import CardWatch, about_machine, device_name
from evqa.benchmarking.cards import card_of
from evqa.benchmarking.motion import measure_motion
from evqa.benchmarking.part_times import HEAD
from evqa.benchmarking.reports import MotionCost
from evqa.benchmarking.step_report import Arithmetic, StepReport, StepRow, StepTimes
from evqa.benchmarking.step_timer import Steps, StepTimer
from evqa.benchmarking.work import CountBatch, merge_for_scoring, scoring_work, training_work
from evqa.errors import MediaError, RunError
from evqa.models.vqa2.motion import MotionBranch
from evqa.scoring.computation import Computation
from evqa.training.batches import BatchLoader
from evqa.training.datamodule import ScoreDataModule
from evqa.training.model_with_head import ModelWithHead
from evqa.training.module import ScoreModule
from evqa.training.plan import RunPlan
from evqa.types import Batch

MakeTrainer = Callable[[RunPlan, list[lightning.Callback]], lightning.Trainer]


@dataclass(frozen=True)
class Measured:
    """Steps of one batch size, and their first batch."""

    times: StepTimes
    example: Batch


class Stopwatch(lightning.Callback):
    """Times a training's steps and ends it after the last one."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.timer: StepTimer

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Learn which device computes."""
        assert isinstance(pl_module, ScoreModule)
        self.timer = StepTimer(pl_module.model, trainer.strategy.root_device, self.steps)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """Begin a step."""
        self.timer.begin(batch)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Begin its backward pass."""
        self.timer.part_times.mark("backward", HEAD)

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Begin what comes behind it."""
        self.timer.part_times.mark("", "optimizer")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """End a step."""
        loader: Any = trainer.train_dataloader
        self.timer.end(batch, waited_s=loader.waited_s)
        trainer.should_stop = self.timer.is_done


def time_training(
    trainer_of: Callable[[list[lightning.Callback]], lightning.Trainer],
    module: ScoreModule,
    datamodule: Any,
    steps: Steps,
) -> Measured:
    """Train for some steps without validation, checkpoints or logs; the module's weights change.

    datamodule: a `ScoreDataModule`, or what serves batches as one does.
    """
    watch = Stopwatch(steps)
    trainer = trainer_of([watch])
    trainer.limit_val_batches = 0
    total = steps.total(trainer.strategy.root_device)
    trainer.fit_loop.max_epochs = 1 + total // len(datamodule.train_dataloader())
    try:
        trainer.fit(module, datamodule=datamodule)
    finally:
        if hasattr(watch, "timer"):
            watch.timer.close()
    assert watch.timer.example is not None
    return Measured(watch.timer.times(datamodule.batches.batch_size), watch.timer.example)


def time_scoring(
    module: ModelWithHead, loader: Iterable[Batch], computation: Computation, steps: Steps, *, batch_size: int
) -> Measured:
    """Score batches as `evqa eval` and `evqa predict` do."""
    timer = StepTimer(module.model, computation.device, steps)
    computation.place(module)
    try:
        with computation.active():
            for batch in loader:
                on_device = batch.to(computation.device)
                timer.begin(on_device)
                module.values(on_device)
                timer.end(on_device, waited_s=getattr(loader, "waited_s", 0.0))
                if timer.is_done:
                    break
    finally:
        timer.close()
    assert timer.example is not None
    return Measured(timer.times(batch_size), timer.example)


def measure_training(
    plan: RunPlan,
    module: ScoreModule,
    datamodule: ScoreDataModule,
    make_trainer: MakeTrainer,
    *,
    steps: Steps,
    batch_sizes: Sequence[int],
) -> StepReport:
    """Time training steps of each batch size in turn, until one does not fit the memory.

    The clips of these steps are read once before, so that a cache is warm; without a cache decoding is measured.
    """
    accumulate = plan.trainer.accumulate  # whole windows, so that each optimizer step has its share
    steps = replace(
        steps, timed=accumulate * math.ceil(steps.timed / accumulate), parts=accumulate * math.ceil(4 / accumulate)
    )

    def measure(batch_size: int) -> Measured:
        datamodule.batches = replace(datamodule.batches, batch_size=batch_size)
        warm_up_cache(datamodule.train_dataloader(), steps.warmup + steps.timed)
        module.zero_grad()
        return time_training(lambda callbacks: make_trainer(plan, callbacks), module, datamodule, steps)

    count = partial(training_work, num_recomputed=module.model.num_recomputed)
    return _report("train", plan, measure, count, device=_device(plan), batch_sizes=batch_sizes)


def measure_scoring(
    plan: RunPlan, module: ModelWithHead, datamodule: ScoreDataModule, *, steps: Steps, batch_sizes: Sequence[int]
) -> StepReport:
    """Score so many batches of the validation split as there are, at most those of `steps`; each batch size in turn.

    module: of `build_scoring`; its adapters are merged.
    """
    merge_for_scoring(plan, module)
    device, settings = _device(plan), plan.trainer
    computation = Computation(device=device, precision=settings.precision, deterministic=settings.deterministic)

    def measure(batch_size: int) -> Measured:
        datamodule.batches = replace(datamodule.batches, batch_size=batch_size)
        loader = datamodule.evaluation_loader("val")
        fitting = _fitting(steps, len(loader), device)
        warm_up_cache(loader, fitting.total(device))
        return time_scoring(module, loader, computation, fitting, batch_size=batch_size)

    report = _report("score", plan, measure, scoring_work, device=device, batch_sizes=batch_sizes)
    return replace(report, motion=_motion_cost(module, datamodule.evaluation_loader("val"), device))


def _fitting(steps: Steps, num_batches: int, device: torch.device) -> Steps:
    """Take fewer steps where there are fewer batches."""
    warmup = max(1, min(steps.warmup, num_batches // 4))
    timed = max(1, min(steps.timed, num_batches - warmup))
    left = num_batches - warmup - timed - steps.traced(device)
    return replace(steps, warmup=warmup, timed=timed, parts=max(0, min(steps.parts, left)))


def _device(plan: RunPlan) -> torch.device:
    return torch.device(plan.trainer.device)


def _report(
    what: str,
    plan: RunPlan,
    measure: Callable[[int], Measured],
    count: CountBatch,
    *,
    device: torch.device,
    batch_sizes: Sequence[int],
) -> StepReport:
    notes: list[str] = []
    with CardWatch(device) as watch:
        measured = list(until_out_of_memory(measure, batch_sizes, notes))
    if not measured:
        raise RunError(f"Nothing was measured: {notes[0]}")
    card = card_of(device_name(device))
    arithmetic = count_or_tell(count, plan, measured[0].example, notes)
    peak = card.flops(is_half=plan.trainer.precision != "32") if card else None
    if peak is None:
        notes.append(f"the peak of {device_name(device)} is not known: no utilisation")
    return StepReport(
        what=what,
        machine=about_machine(device),
        card=watch.state,
        workers=plan.data.batches.num_workers(),
        rows=[StepRow.of(one.times, arithmetic, peak_flops=peak) for one in measured],
        notes=notes,
    )


def until_out_of_memory(
    measure: Callable[[int], Measured], batch_sizes: Sequence[int], notes: list[str]
) -> Iterator[Measured]:
    """Measure one batch size after the other; says which was the first that did not fit, and what was not tried."""
    for place, batch_size in enumerate(batch_sizes):
        try:
            measured = measure(batch_size)
        except torch.OutOfMemoryError:
            measured = None
        free_memory()
        if measured is None:
            later = [str(size) for size in batch_sizes[place + 1 :]]
            rest = f"; {', '.join(later)} not tried" if later else ""
            notes.append(f"batch size {batch_size}: out of memory{rest}")
            return
        yield measured


def free_memory() -> None:
    """Give back what nothing uses any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def count_or_tell(count: CountBatch, plan: RunPlan, batch: Batch, notes: list[str]) -> Arithmetic | None:
    """Count a batch's arithmetic, or note why that cannot be done."""
    try:
        return count(plan, batch)
    except RunError as error:
        notes.append(f"arithmetic: {error}")
        return None


def _motion_cost(module: ModelWithHead, loader: BatchLoader, device: torch.device) -> MotionCost | None:
    """Measure the model's motion branch, where it has one, on the first clip that can be read."""
    branch = next((part for part in module.model.modules() if isinstance(part, MotionBranch)), None)
    if branch is None:
        return None
    for _, index in itertools.chain.from_iterable(loader.order.batches(0)):
        with contextlib.suppress(MediaError):
            clip = loader.samples.read(loader.samples.records[index].paths[0])
            if clip.motion is not None:
                return measure_motion(branch.to(device), clip.motion)
    return None


def warm_up_cache(loader: BatchLoader, num_batches: int) -> None:
    """Read the clips of the first batches once."""
    for _, index in itertools.chain.from_iterable(loader.order.batches(0)[:num_batches]):
        with contextlib.suppress(MediaError):
            loader.samples.read(loader.samples.records[index].paths[0])
