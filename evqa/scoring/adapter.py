"""A run as a scorer: scores in order and in bounded memory."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import torch

from evqa.machine.isolated import stop_calls
from evqa.scoring.places import LoadedRun
from evqa.scoring.score import Meaning, Score
from evqa.training.batches import Collate, Samples
from evqa.types import Batch, Failure, Record


@dataclass
class RunScorer:
    """Scores records with a loaded run. batch_size: records that are computed together, in their order."""

    run: LoadedRun
    modal: str | None = None
    meaning: Meaning = field(init=False)
    batch_size: int = field(init=False)

    def __post_init__(self) -> None:
        data = self.run.datamodule({}, self.modal)
        self._pipeline, self._workers = data.reading, data.loading.num_workers()
        self.meaning, self.batch_size = Meaning(scale=self.run.module.scale), data.loading.batch_size
        trainer = self.run.trainer()
        self._precision, self._device = trainer.precision_plugin, trainer.strategy.root_device
        self._precision.convert_module(self.run.module).to(self._device).eval()
        self._collate = Collate(self._pipeline.preparer)

    def score(self, items: Iterable[Record]) -> Generator[Score, None, None]:
        """Yield the score of every record, in order; what cannot be scored yields its failure."""
        records = iter(items)
        chunks = iter(lambda: tuple(itertools.islice(records, self.batch_size)), ())
        for chunk, batch in self._ahead(chunks):
            yield from self._scores(chunk, batch)

    def _ahead(self, chunks: Iterator[tuple[Record, ...]]) -> Iterator[tuple[tuple[Record, ...], Batch]]:
        if not self._workers:
            yield from ((chunk, self._load(chunk)) for chunk in chunks)
            return
        ahead = deque[tuple[tuple[Record, ...], Future[Batch]]]()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="load") as pool:
            try:
                for chunk in chunks:
                    ahead.append((chunk, pool.submit(self._load, chunk)))
                    if len(ahead) > 2 * self._workers:
                        first, future = ahead.popleft()
                        yield first, future.result()
                while ahead:
                    first, future = ahead.popleft()
                    yield first, future.result()
            finally:
                futures = [future for _, future in ahead]
                for future in futures:
                    future.cancel()
                while wait(futures, timeout=0.1).not_done:  # left early, perhaps by Ctrl-C while a file hangs
                    stop_calls()

    def _load(self, records: tuple[Record, ...]) -> Batch:
        samples = Samples(records=records, **vars(self._pipeline))
        return self._collate([samples[0, index] for index in range(len(records))])

    def _scores(self, records: tuple[Record, ...], batch: Batch) -> Iterator[Score]:
        with torch.inference_mode(), contextlib.ExitStack() as stack:
            stack.enter_context(self._precision.predict_step_context())
            scored = self.run.module.score(self.run.module.transfer_batch_to_device(batch, self._device, 0))
        values = dict(zip(scored.ids, zip(scored.scores, scored.missing, strict=True), strict=True))
        failures = {failure.id: failure for failure in scored.failures}
        for record in records:
            value, missing = values.get(record.id, (math.nan, ()))
            failure = failures.get(record.id)
            if failure is None and not math.isfinite(value):
                failure = Failure(id=record.id, reason=f"the model computed {value}, which is no score")
            yield self._scored(record, None if failure else value, missing, failure)

    def _scored(self, record: Record, value: float | None, missing: tuple[str, ...], failure: Failure | None) -> Score:
        return Score(
            id=record.id,
            paths=record.paths,
            value=value,
            outside=value is not None and self.meaning.is_outside(value),
            percentile=None if value is None else self.meaning.percentile(value),
            label=record.label,
            missing=missing,
            failure=failure,
        )
