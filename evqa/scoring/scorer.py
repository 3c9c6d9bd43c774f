"""A scorer: scores, and pooled hidden states, of whatever it is given, in order and in bounded memory.

# D width
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch

from evqa.errors import ConfigError
from evqa.heads.base import Head
from evqa.media.cache import CachedReader
from evqa.prompts.decoding import Decoding
from evqa.prompts.prompt import Prompt
from evqa.scoring.asking import asking
from evqa.scoring.computation import Computation
from evqa.scoring.dialogue import Answering, Dialogue
from evqa.scoring.items import Item, as_record, unreadable
from evqa.scoring.recall import Recall
from evqa.scoring.score import Answer, Embedding, Meaning, Score
from evqa.scoring.sorting import Numbered, batches_of, in_order
from evqa.training.batches import Collate, Pipeline, Sample, Samples, load_ahead
from evqa.training.conversations import text_length
from evqa.training.model_with_head import ModelWithHead
from evqa.types import Batch, Clip, Failure, Record

Result = TypeVar("Result")
SORTED = 16  # batches whose items are sorted by length; as many are done again by a command that was killed
LONG_ANSWER = Decoding(max_new_tokens=256)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Some records, the sample made of each, and the batch of those samples that have inputs."""

    records: Sequence[Record]
    samples: Sequence[Sample]
    batch: Batch


class Scorer:
    """A model with its head, ready to score; `evqa.load` makes one.

    meaning: what its scores stand for. modal: the modalities that it reads. batch_size: items a forward pass.
    workers: threads that read files ahead; at most 2 * workers + 1 batches are held in memory, whatever the number of
    items. bucket: batches of items with texts of like length, found among SORTED batches that follow one another.
    """

    def __init__(
        self,
        module: ModelWithHead,
        *,
        pipeline: Pipeline,
        computation: Computation,
        meaning: Meaning,
        modal: str,
        batch_size: int,
        workers: int,
        bucket: bool = False,
    ) -> None:
        self.module, self.meaning, self.modal = module, meaning, modal
        self.batch_size, self.workers, self.bucket = batch_size, workers, bucket
        self._pipeline, self._collate, self._computation = pipeline, Collate(pipeline.preparer), computation
        self._pin = computation.device.type == "cuda"
        computation.place(module)

    @property
    def window(self) -> int:
        """Items among which batches are made: after every so many, scoring may be continued to the same last digits."""
        return self.batch_size * (SORTED if self.bucket else 1)

    @property
    def prompt(self) -> Prompt:
        """What it asks about every item that has no turns of its own."""
        return self._pipeline.prompt

    @property
    def pipeline(self) -> Pipeline:
        """How a record becomes a sample."""
        return self._pipeline

    def read_here(self) -> None:
        """Read files in this process from here on: sooner for a few, but one that crashes the decoder ends it."""
        reader = self._pipeline.read
        if isinstance(reader, CachedReader):
            here = CachedReader(reader.settings, reader.spec, isolated=False)
            self._pipeline = replace(self._pipeline, read=here)

    def score(self, items: Iterable[Item]) -> Generator[Score, None, None]:
        """Yield the score of every item, in order; what cannot be scored yields the failure that says why.

        items: paths, or records where texts and labels belong to a file; any iterable, also one without end.

        Raises:
            TypeError: an item is neither a path nor a record.
            ConfigError: the scorer's head gives no scores.
        """
        self.check_scores()
        return self._stream(items, self._scores, self._pipeline)

    def score_read(self, items: Iterable[tuple[Record, Sequence[Clip]]]) -> Iterator[Score]:
        """Yield the scores of records whose files have been read already, or altered: a clip a file, in order.

        Raises:
            ConfigError: the scorer's head gives no scores.
        """
        self.check_scores()
        pairs = iter(items)
        while chunk := tuple(islice(pairs, self.batch_size)):
            samples = [self._sample(record, dict(zip(record.paths, clips, strict=True))) for record, clips in chunk]
            yield from self._scores(self._loaded([record for record, _ in chunk], samples))

    def _sample(self, record: Record, clips: Mapping[Path, Clip]) -> Sample:
        return Samples(records=(record,), **vars(replace(self._pipeline, read=clips.__getitem__)))[0, 0]

    def check_scores(self) -> None:
        """Raise ConfigError where the scorer's head gives no scores."""
        if not self.module.head.gives_scores:
            name = type(self.module.head).__name__
            raise ConfigError([f"This scorer gives no scores: its head ({name}) answers in words. Ask it."])

    def embed(self, items: Iterable[Item]) -> Iterator[Embedding]:
        """Yield for every item what the head pools of the last hidden states, float32 [D] on the CPU, in order.

        items and what is raised: as in `score`.
        """
        return self._stream(items, self._embeddings, self._pipeline)

    def ask(
        self, items: Iterable[Item], *, question: str | None = None, decoding: Decoding = LONG_ANSWER
    ) -> Iterator[Answer]:
        """Yield the model's answer to a question about every item, in order; None asks what the scorer is asked.

        items and what is raised: as in `score`. A record with turns of its own is asked by those. decoding: how words
        are chosen, and how many.

        Raises:
            ConfigError: the question is empty, or the scorer's model was built without an LM head.
        """
        self.check_answers()
        return self._stream(items, partial(self._answers, decoding=decoding), asking(self._recalling, question))

    def chat(self, item: Item, *, decoding: Decoding = LONG_ANSWER) -> Dialogue:
        """Begin a conversation about an item, which is read once.

        Raises:
            TypeError, ConfigError: as in `ask`.
        """
        self.check_answers()
        pipeline = asking(self._recalling, None)
        return Dialogue(as_record(item), begin=partial(self._continued, pipeline=pipeline, decoding=decoding))

    def continued(self, samples: Sequence[Sample], *, decoding: Decoding) -> list[str]:
        """Return the model's answers to prepared samples, which are one batch."""
        return self._compute(self._collate(samples), partial(self._generated, decoding=decoding))

    def scored_by(self, head: Head, samples: Sequence[Sample]) -> list[float]:
        """Return the scores (0-1) that another head than the scorer's own reads of prepared samples, one batch."""
        scores = self._compute(self._collate(samples), lambda batch: head.score(self.module.model, batch.inputs))
        return list(scores.score_B.tolist())

    @cached_property
    def _recalling(self) -> Pipeline:
        """The pipeline of questions: a file that is asked about repeatedly is read once."""
        return replace(self._pipeline, read=Recall(self._pipeline.read))

    def check_answers(self) -> None:
        """Raise ConfigError where the scorer's model has no LM head to answer with."""
        if not self.module.head.needs_logits:
            name = type(self.module.head).__name__
            raise ConfigError(
                [f"This scorer cannot be asked: its head ({name}) reads no words, so its model has no LM head. Load "
                 "one that was trained with head=levels, head=text or head=conversation."]
            )  # fmt: skip

    def _continued(self, record: Record, *, pipeline: Pipeline, decoding: Decoding) -> Answering:
        """Read a record and begin the answer to its last turn."""
        loaded = self._load((record,), pipeline=pipeline)
        (sample,) = loaded.samples
        if sample.failure is not None:
            raise ConfigError([f"{record.id}: {sample.failure.reason}"])
        pieces = self._compute(loaded.batch, lambda batch: self.module.model.generate(batch.inputs, decoding))
        return Answering(missing=sample.missing, pieces=self._streamed(pieces))

    def _streamed(self, pieces: Iterator[list[str]]) -> Iterator[str]:
        """Yield the pieces of a single answer; between two of them torch is set as it was before."""
        while True:
            with self._computation.active():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece[0]

    def _stream(
        self, items: Iterable[Item], results: Callable[[Loaded], list[Result]], pipeline: Pipeline
    ) -> Generator[Result, None, None]:
        prompt, records = pipeline.prompt, map(as_record, items)
        length = partial(text_length, prompt=prompt) if self.bucket else None
        batches = batches_of(records, batch_size=self.batch_size, window=self.window, length=length)

        def load(batch: Numbered) -> tuple[list[int], Loaded]:
            return [number for number, _ in batch], self._load([record for _, record in batch], pipeline=pipeline)

        ahead = load_ahead(load, batches, workers=self.workers)
        yield from in_order(one for numbers, loaded in ahead for one in zip(numbers, results(loaded), strict=True))

    def _load(self, records: Sequence[Record], *, pipeline: Pipeline) -> Loaded:
        read = Samples(records=tuple(records), **vars(pipeline))
        return self._loaded(records, [unreadable(record) or read[0, index] for index, record in enumerate(records)])

    def _loaded(self, records: Sequence[Record], samples: Sequence[Sample]) -> Loaded:
        batch = self._collate(samples)
        return Loaded(records=records, samples=samples, batch=batch.pin_memory() if self._pin else batch)

    def _scores(self, loaded: Loaded) -> list[Score]:
        values = iter(self._compute(loaded.batch, self.module.values))
        return [
            self._score(record, sample, next(values) if sample.failure is None else sample.failure.reason)
            for record, sample in zip(loaded.records, loaded.samples, strict=True)
        ]

    def _score(self, record: Record, sample: Sample, value: float | str) -> Score:
        """value: the score, or the reason why there is none."""
        about = Score(id=record.id, paths=record.paths, label=record.label, missing=sample.missing)
        if isinstance(value, str) or not math.isfinite(value):
            reason = value if isinstance(value, str) else f"the model computed {value}, which is no score"
            return replace(about, failure=Failure(id=record.id, reason=reason))
        meaning = self.meaning
        return replace(
            about,
            value=value,
            outside=meaning.is_outside(value),
            percentile=meaning.percentile(value),
            calibrated=meaning.calibrated(value),
        )

    def _embeddings(self, loaded: Loaded) -> list[Embedding]:
        # Copies: a row would keep its whole batch alive, and nothing can be learned from what inference mode made.
        vectors = (row_D.clone() for row_D in self._compute(loaded.batch, self._pooled))
        return [
            Embedding(
                id=record.id,
                paths=record.paths,
                vector_D=next(vectors) if sample.failure is None else None,
                missing=sample.missing,
                failure=sample.failure,
            )
            for record, sample in zip(loaded.records, loaded.samples, strict=True)
        ]

    def _pooled(self, batch: Batch) -> list[torch.Tensor]:
        return list(self.module.head.pool(self.module.model(batch.inputs)).float().cpu()) if len(batch) else []

    def _answers(self, loaded: Loaded, *, decoding: Decoding) -> list[Answer]:
        texts = iter(self._compute(loaded.batch, partial(self._generated, decoding=decoding)))
        return [
            Answer(
                id=record.id,
                paths=record.paths,
                text=next(texts) if sample.failure is None else None,
                missing=sample.missing,
                failure=sample.failure,
            )
            for record, sample in zip(loaded.records, loaded.samples, strict=True)
        ]

    def _generated(self, batch: Batch, *, decoding: Decoding) -> list[str]:
        if not len(batch):
            return []
        answers = [""] * len(batch)
        for pieces in self.module.model.generate(batch.inputs, decoding):
            answers = [answer + piece for answer, piece in zip(answers, pieces, strict=True)]
        return answers

    def _compute(self, batch: Batch, function: Callable[[Batch], Result]) -> Result:
        """Call a function of a batch on the scorer's device."""
        with self._computation.active():
            return function(batch.to(self._computation.device))
