"""Samples, and loaders of batches of them.

Threads load: what the cache holds they read, what it does not hold is decoded in processes meanwhile.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch.utils.data import Dataset

from evqa.errors import MediaError, PromptError
from evqa.heads.base import Wording
from evqa.machine.isolated import stop_calls
from evqa.models.base import Preparer
from evqa.prompts.prompt import Prompt
from evqa.training.conversations import conversation
from evqa.training.order import Order, Place, seed_of
from evqa.training.read_once import ReadOnce
from evqa.types import SAMPLE_RATE_HZ, Batch, Clip, Failure, Inputs, LabelScale, Prepared, Record

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Everything between a record and a batch that training, evaluation and prediction share."""

    read: Callable[[Path], Clip]
    preparer: Preparer
    wording: Wording
    prompt: Prompt
    scale: LabelScale


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prepared item: inputs, or the failure that explains their absence. `unit` is the label in 0-1."""

    id: str
    label: float = float("nan")
    unit: float = float("nan")
    inputs: Prepared | None = None
    missing: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Samples(Dataset[Sample]):
    """The one path from a record to a model's inputs, for training, evaluation and prediction.

    read: file -> Clip. learn: whether the answer's target is part of the input. modal_dropout: chance that picture
    or sound is left out of a sample (never both), drawn from (seed, epoch, id). once: keeps what was read for the
    records that come next.
    """

    records: tuple[Record, ...]
    read: Callable[[Path], Clip]
    preparer: Preparer
    wording: Wording
    prompt: Prompt
    scale: LabelScale
    learn: bool = False
    modal_dropout: float = 0.0
    seed: int = 0
    once: ReadOnce = field(default_factory=ReadOnce)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, place: Place) -> Sample:
        epoch, index = place
        record = self.records[index]
        label = float("nan") if record.label is None else record.label
        unit = self.scale.to_unit(label)
        try:
            clips = self.once(record.paths, lambda: [self._read(path, record) for path in record.paths])
        except MediaError as error:
            return Sample(id=record.id, failure=Failure(id=record.id, reason=error.reason))
        if self.modal_dropout:
            draw = random.Random(seed_of("modal", self.seed, epoch, record.id))
            clips = self._drop_modality(clips, draw)
        learned = unit if self.learn else None
        try:
            words = conversation(record, clips, prompt=self.prompt, wording=self.wording, unit=learned)
            inputs = self.preparer.prepare(words, clips)
        except PromptError as error:
            return Sample(id=record.id, failure=Failure(id=record.id, reason=str(error)))
        of_files = (note for clip in clips for note in clip.missing)
        missing = (*of_files, *self.prompt.notes(record, clips), *inputs.get("notes", ()))
        return Sample(id=record.id, label=label, unit=unit, inputs=inputs, missing=missing)

    def _read(self, path: Path, record: Record) -> Clip:
        """Read one file. Raises MediaError, naming the file where the record has several."""
        try:
            clip = self.read(path)
        except MediaError as error:
            raise MediaError(path, _named(path, error.reason, record)) from error
        if clip.frames_FHWC is None and not has_sound(clip):
            lacks = "; ".join(clip.missing) or "neither picture nor sound"
            raise MediaError(path, _named(path, f"holds nothing of what was asked for ({lacks})", record))
        return clip

    def _drop_modality(self, clips: list[Clip], draw: random.Random) -> list[Clip]:
        """Leave out the same modality of all files of a record, where every file has both."""
        have_both = all(clip.frames_FHWC is not None and has_sound(clip) for clip in clips)
        if not have_both or draw.random() >= self.modal_dropout:
            return clips
        if draw.random() < 0.5:
            return [replace(clip, frames_FHWC=None, seconds_F=None, motion=None) for clip in clips]
        return [replace(clip, waveform_S=None, fbank_RM=None) for clip in clips]


def _named(path: Path, reason: str, record: Record) -> str:
    return reason if len(record.paths) == 1 else f"{path.name}: {reason}"


def has_sound(clip: Clip) -> bool:
    """Whether a clip holds enough sound for a token: a model may make none of less than 0.175 s (16 rows)."""
    if clip.fbank_RM is not None:
        return len(clip.fbank_RM) >= 16
    return clip.waveform_S is not None and len(clip.waveform_S) >= 0.175 * SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Collate:
    """Make a Batch of samples; failures are carried along, never replaced."""

    preparer: Preparer

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Collate what could be read."""
        good = [sample for sample in samples if sample.inputs is not None]
        return Batch(
            ids=tuple(sample.id for sample in good),
            inputs=self.preparer.collate([s.inputs for s in good if s.inputs is not None]) if good else Inputs(),
            label_B=torch.tensor([sample.unit for sample in good], dtype=torch.float32),
            labels=tuple(sample.label for sample in good),
            missing=tuple(sample.missing for sample in good),
            failures=tuple(sample.failure for sample in samples if sample.failure is not None),
        )


class BatchLoader:
    """An iterable of batches that Lightning can resume in the middle of an epoch.

    workers: threads that load; 0 loads in the calling one. pin: put inputs where a GPU can fetch them while it
    computes. waited_s: time that the consumer has spent waiting for batches since the epoch began.
    """

    def __init__(self, samples: Samples, order: Order, collate: Collate, *, workers: int, pin: bool = False) -> None:
        self.samples, self.order, self.collate = samples, order, collate
        self.workers, self.pin = workers, pin
        self.epoch = self.start = self.done = 0
        self.waited_s = 0.0
        self.sampler = self  # Lightning calls loader.sampler.set_epoch, and looks at batch_sampler first
        self.batch_sampler = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing is drawn before Lightning has set the epoch.
        start, self.start = self.start, 0
        self.done, self.waited_s = start, 0.0
        batches = iter(self._batches(self.order.batches(self.epoch)[start:]))
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - asked
            if batch is None:
                return
            self.done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the place in the epoch; the number of workers does not matter."""
        return {"done": self.done % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches that were already handed out."""
        self.start = state["done"]

    def _batches(self, places: list[list[Place]]) -> Iterator[Batch]:
        records = self.samples.records
        once = ReadOnce(records[index].paths for batch in places for _, index in batch)
        return load_ahead(partial(self._load, replace(self.samples, once=once)), places, workers=self.workers)

    def _load(self, samples: Samples, places: list[Place]) -> Batch:
        batch = self.collate([samples[place] for place in places])
        return batch.pin_memory() if self.pin else batch


def load_ahead(load: Callable[[Item], Loaded], items: Iterable[Item], *, workers: int) -> Iterator[Loaded]:
    """Load items in threads, in order, a few more than `workers` ahead of the consumer; 0 loads in its own thread.

    Items are taken from their source in the consumer's thread, one after the other, so that it may be a generator
    without end.
    """
    if not workers:
        yield from map(load, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="load") as pool:
        ahead: deque[Future[Loaded]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(load, item))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
            while wait(ahead, timeout=0.1).not_done:  # left early, perhaps by Ctrl-C while a file hangs
                stop_calls()
