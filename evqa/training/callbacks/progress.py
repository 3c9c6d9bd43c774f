"""What a training tells while it runs: epoch, step, loss, validation score, samples a second, time to the run's end."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import lightning

from evqa.config.metric_names import Monitored
from evqa.files.progress import Standing, Stopped, Teller, rate
from evqa.training.callbacks.checkpoints import Checkpoints
from evqa.types import Batch

NUM_RECENT = 100  # batches by which the pace is judged


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a whole run does, counted in batches of one process.

    epoch_batches: of an epoch. every_epochs, every_batches: between validations; the latter counts where each epoch has
    one or more. validation_batches: of one validation. final_batches: of the scoring after the training.
    """

    epochs: int
    epoch_batches: int
    every_epochs: int
    every_batches: int
    validation_batches: int
    final_batches: int

    @property
    def num_batches(self) -> int:
        """Training batches of all epochs."""
        return self.epochs * self.epoch_batches

    def num_validations(self, done: int) -> int:
        """Validations up to the end of so many training batches."""
        epochs, inside = divmod(done, self.epoch_batches)
        if self.every_epochs > 1:
            return epochs // self.every_epochs
        return epochs * (self.epoch_batches // self.every_batches) + inside // self.every_batches

    def seconds_left(self, done: int, *, training_s: float, scoring_s: float, validated: int | None = None) -> float:
        """Seconds to the end of the run, behind so many training batches.

        training_s, scoring_s: of a batch. validated: batches of a validation that is going on.
        """
        validations = self.num_validations(self.num_batches) - self.num_validations(done)
        scoring = validations * self.validation_batches + self.final_batches
        if validated is not None:
            scoring += self.validation_batches - validated
        return (self.num_batches - done) * training_s + scoring * scoring_s


@dataclass
class Pace:
    """Seconds and samples of the last training batches, and the seconds of a batch in the last validation.

    The first batch of a process also warms up, so it counts only while it is alone. Before a validation has been
    measured, scoring a batch is taken for as long as training on one.
    """

    validation_s: float | None = None
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=NUM_RECENT))
    num_seen: int = 0

    def add(self, seconds: float, *, num_samples: int) -> None:
        """Note a training batch."""
        self.num_seen += 1
        if self.num_seen == 2:
            self.recent.clear()
        self.recent.append((seconds, num_samples))

    @property
    def training_s(self) -> float | None:
        """Seconds of a training batch."""
        return sum(seconds for seconds, _ in self.recent) / len(self.recent) if self.recent else None

    @property
    def scoring_s(self) -> float | None:
        """Seconds of scoring a batch."""
        return self.training_s if self.validation_s is None else self.validation_s

    @property
    def samples_per_second(self) -> float:
        """Samples of this process a second of training; `recent` holds one or more."""
        return sum(count for _, count in self.recent) / max(1e-9, sum(seconds for seconds, _ in self.recent))


class TrainingProgress(lightning.Callback):
    """Tell where the training is: a line that is drawn again, or in a log one line an epoch and one a minute.

    monitor: whose value is told as "val". wanted: whether anything is told.
    """

    def __init__(self, *, monitor: Monitored, wanted: bool) -> None:
        self.monitor, self.wanted = monitor, wanted
        self.pace = Pace()
        self.place = "before the training began"
        self.loss = self.score = math.nan
        self.done = self.epoch = self.scored_epoch = 0
        self.teller = Teller(wanted=False)
        self.is_interrupted = False

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Take in what the run will do, and begin to tell."""
        self.course = course_of(trainer)
        self.num_steps = math.ceil(self.course.epoch_batches / trainer.accumulate_grad_batches) * self.course.epochs
        self.done = min(self.course.num_batches, trainer.global_step * trainer.accumulate_grad_batches)
        self.teller = Teller(wanted=self.wanted and trainer.is_global_zero)
        self.teller.open()
        self.on_train_epoch_start(trainer, module)  # which Lightning leaves out when it resumes inside an epoch

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to count seconds; `current_epoch` counts from 0."""
        self.epoch = trainer.current_epoch + 1
        self._tell(trainer, milestone=self.teller.is_drawn)
        self.began = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Count a batch."""
        self._repeat_ctrl_c()
        now = time.monotonic()
        self.pace.add(now - self.began, num_samples=len(batch))
        self.began = now
        self.done = (self.epoch - 1) * self.course.epoch_batches + index + 1
        if self.teller.is_due or trainer.is_last_batch:
            self.loss = float(trainer.callback_metrics.get("train/loss", math.nan))
        self._tell(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to count its seconds."""
        self.validation_began = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count one of its batches."""
        self._repeat_ctrl_c()
        self._tell(trainer, validated=index + 1)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Take over its score and its seconds."""
        self.began = time.monotonic()
        self.pace.validation_s = (self.began - self.validation_began) / max(1, self.course.validation_batches)
        self.score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        self.scored_epoch = self.epoch

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Tell each epoch's end."""
        self._tell(trainer, milestone=True)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Take the line away."""
        self.teller.close()
        self.place = "after the training"

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Take the line away."""
        self.teller.close()

    def _tell(self, trainer: lightning.Trainer, *, validated: int | None = None, milestone: bool = False) -> None:
        self.place = f"in epoch {self.epoch}/{self.course.epochs}, step {trainer.global_step}/{self.num_steps}"
        if validated is not None:
            self.place += f", validation {validated}/{self.course.validation_batches}"
        if not (milestone or self.teller.is_due):
            return
        training_s, scoring_s, left_s = self.pace.training_s, self.pace.scoring_s, None
        if training_s is not None and scoring_s is not None:
            left_s = self.course.seconds_left(
                self.done, training_s=training_s, scoring_s=scoring_s, validated=validated
            )
        standing = Standing(
            place=self.place.removeprefix("in "),
            share=self.done / max(1, self.course.num_batches),
            facts=tuple(self._facts(trainer.world_size)),
            left_s=left_s,
        )
        self.teller.tell(standing, milestone=milestone)

    def _facts(self, world_size: int) -> Iterator[str]:
        if not math.isnan(self.loss):
            yield f"loss {self.loss:.4g}"
        if not math.isnan(self.score):
            earlier = "" if self.scored_epoch == self.epoch else f" of epoch {self.scored_epoch}"
            yield f"val {self.score:.4f}{earlier}"
        if self.pace.recent:
            yield f"{rate(self.pace.samples_per_second * world_size)} samples/s"

    @contextmanager
    def stopped(self, checkpoints: Checkpoints) -> Iterator[None]:
        """Add to a Ctrl-C inside the block where it came, and which step the same command continues from.

        Raises:
            Stopped: in its place.
        """
        try:
            with self._listening():
                yield
        except Stopped:
            raise
        except KeyboardInterrupt:
            step = max(0, checkpoints.saved_step)
            raise Stopped(self.place, then=f"the same command continues from step {step}") from None

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note a Ctrl-C: Python drops an exception that comes while it frees an object, as a loader's end does."""
        before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
        if threading.current_thread() is not threading.main_thread() or not callable(before):
            yield
            return

        def interrupt(number: int, frame: Any) -> None:
            self.is_interrupted = True
            before(number, frame)

        signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook = lambda lost: None if lost.exc_type is KeyboardInterrupt else hook(lost)
        try:
            yield
        finally:
            sys.unraisablehook = hook
            signal.signal(signal.SIGINT, before)

    def _repeat_ctrl_c(self) -> None:
        if self.is_interrupted:
            raise KeyboardInterrupt


def course_of(trainer: lightning.Trainer) -> Course:
    """What a trainer that has begun will do."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    validation_batches = int(sum(trainer.num_val_batches))
    num_final = sum(len(records) for split, records in data.splits.items() if split != "train")
    return Course(
        epochs=int(trainer.max_epochs or 1),
        epoch_batches=int(trainer.num_training_batches),
        every_epochs=int(trainer.check_val_every_n_epoch or 1),
        every_batches=int(trainer.val_check_batch or trainer.num_training_batches),
        validation_batches=validation_batches,
        final_batches=math.ceil(num_final * validation_batches / max(1, len(data.splits["val"]))),
    )
