"""`benchmark train` and `benchmark score`: the speed of steps, and how long they wait for data.

# B batch, T tokens
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import lightning
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from evqa.benchmarking.cards import card_of
from evqa.benchmarking.measure import Spread
from evqa.benchmarking.motion import measure_motion
from evqa.benchmarking.reports import MotionCost, StepReport
from evqa.errors import MediaError
from evqa.models.vqa2.motion import MotionBranch
from evqa.training.batches import BatchLoader
from evqa.training.datamodule import ScoreDataModule
from evqa.training.module import ScoreModule
from evqa.types import Batch, Output

MakeTrainer = Callable[[list[lightning.Callback]], lightning.Trainer]


@dataclass
class Stopwatch(lightning.Callback):
    """Times `num_steps` steps after a warm-up, in whose first step it counts operations."""

    warmup: int
    num_steps: int
    step_s: list[float] = field(default_factory=list)
    wait_s: list[float] = field(default_factory=list)
    num_samples: int = 0
    num_tokens: int = 0
    flops_per_sample: float = float("nan")
    _num_seen: int = 0
    _ended: float = 0.0
    _waited: float = 0.0
    _counter: FlopCounterMode | None = None
    _counting: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def is_timing(self) -> bool:
        """Whether the step that runs now is one of those that count."""
        return self.warmup <= self._num_seen < self.warmup + self.num_steps

    def begin(self) -> None:
        """Note that a step begins."""
        if self._num_seen == 0:
            self._counter = FlopCounterMode(display=False)
            self._counting.enter_context(self._counter)

    def end(self, loader: Any, batch: Batch) -> None:
        """Note that a step has ended."""
        if self._counter is not None:
            self._counting.close()
            self.flops_per_sample = self._counter.get_total_flops() / max(1, len(batch))
            self._counter = None
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.is_timing:
            self.step_s.append(now - self._ended)
            # the loader counts from 0 in each epoch
            self.wait_s.append(loader.waited_s - (self._waited if loader.waited_s >= self._waited else 0.0))
            self.num_samples += len(batch)
        self._ended, self._waited, self._num_seen = now, loader.waited_s, self._num_seen + 1

    def count_tokens(self, _module: nn.Module, _inputs: Any, output: Output) -> None:
        """Count real positions; a forward hook of the model."""
        if self.is_timing:
            num_padded, num_positions = output.num_padded()
            self.num_tokens += num_positions - num_padded

    def on_train_batch_start(self, *_: Any) -> None:
        """Begin a training step."""
        self.begin()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _module: Any, _outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """End a training step, and training after the last one."""
        self.end(trainer.train_dataloader, batch)
        trainer.should_stop = len(self.step_s) == self.num_steps

    def on_predict_batch_start(self, *_: Any) -> None:
        """Begin a scoring step."""
        self.begin()

    def on_predict_batch_end(
        self, trainer: lightning.Trainer, _module: Any, _outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """End a scoring step."""
        self.end(trainer.predict_dataloaders, batch)


def measure_training(
    make_trainer: MakeTrainer, module: ScoreModule, datamodule: ScoreDataModule, *, warmup: int, num_steps: int
) -> StepReport:
    """Train for some steps without validation, checkpoints or logs; the module's weights change.

    The clips of these steps are read once before, so that a cache is warm; without a cache decoding is measured.
    """
    watch = Stopwatch(warmup=max(1, warmup), num_steps=num_steps)
    trainer = make_trainer([watch])
    loader = datamodule.train_dataloader()
    trainer.limit_val_batches = 0
    trainer.fit_loop.max_epochs = 1 + (watch.warmup + num_steps) // len(loader)
    warm_up_cache(loader, watch.warmup + num_steps)
    with _counting_tokens(module, watch):
        trainer.fit(module, datamodule=datamodule)
    return _report("train", watch, trainer, datamodule)


def measure_scoring(
    make_trainer: MakeTrainer, module: ScoreModule, datamodule: ScoreDataModule, *, warmup: int, num_steps: int
) -> StepReport:
    """Score so many batches of the validation split as there are, at most `num_steps` after the warm-up."""
    loader = datamodule.evaluation_loader("val")
    warmup = max(1, min(warmup, len(loader) // 4))
    watch = Stopwatch(warmup=warmup, num_steps=max(1, min(num_steps, len(loader) - warmup)))
    trainer = make_trainer([watch])
    trainer.limit_predict_batches = watch.warmup + watch.num_steps
    datamodule.trainer = trainer
    warm_up_cache(loader, watch.warmup + watch.num_steps)
    with _counting_tokens(module, watch):
        trainer.predict(module, loader, return_predictions=False)
    return replace(_report("score", watch, trainer, datamodule), motion=_motion_cost(module, loader, trainer))


def _motion_cost(module: ScoreModule, loader: BatchLoader, trainer: lightning.Trainer) -> MotionCost | None:
    """Measure the model's motion branch, where it has one, on the first clip that can be read."""
    branch = next((part for part in module.model.modules() if isinstance(part, MotionBranch)), None)
    if branch is None:
        return None
    for _, index in itertools.chain.from_iterable(loader.order.batches(0)):
        with contextlib.suppress(MediaError):
            clip = loader.samples.read(loader.samples.records[index].paths[0])
            if clip.motion is not None:
                return measure_motion(branch.to(trainer.strategy.root_device), clip.motion)
    return None


def warm_up_cache(loader: BatchLoader, num_batches: int) -> None:
    """Read the clips of the first batches once."""
    for _, index in itertools.chain.from_iterable(loader.order.batches(0)[:num_batches]):
        with contextlib.suppress(MediaError):
            loader.samples.read(loader.samples.records[index].paths[0])


@contextlib.contextmanager
def _counting_tokens(module: ScoreModule, watch: Stopwatch) -> Any:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    handle = module.model.register_forward_hook(watch.count_tokens)
    try:
        yield
    finally:
        handle.remove()


def _report(what: str, watch: Stopwatch, trainer: lightning.Trainer, datamodule: ScoreDataModule) -> StepReport:
    seconds = sum(watch.step_s)
    device = _device_name(trainer)
    card = card_of(device)
    samples_per_second = watch.num_samples / seconds
    return StepReport(
        what=what,
        device=device,
        batch_size=datamodule.batches.batch_size,
        workers=datamodule.batches.num_workers(),
        num_steps=len(watch.step_s),
        step_ms=Spread.of([1000 * step for step in watch.step_s]),
        wait_share=sum(watch.wait_s) / seconds,
        samples_per_second=samples_per_second,
        tokens_per_second=watch.num_tokens / seconds,
        peak_bytes=_peak_bytes(),
        flops_per_sample=watch.flops_per_sample,
        utilisation=watch.flops_per_sample * samples_per_second / card.bf16_flops if card else None,
    )


def _device_name(trainer: lightning.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _peak_bytes() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
