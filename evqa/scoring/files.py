"""Score a split and write what design section 2 promises: a prediction file, its record, and its targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning

from evqa.config.environment import hidden
from evqa.datasets.manifest import FileFacts
from evqa.errors import FileError
from evqa.files.plain import write_json
from evqa.files.stored import read_object
from evqa.files.whole import write_table
from evqa.metrics import evaluate
from evqa.training.datamodule import ScoreDataModule
from evqa.training.folder import RunFolder
from evqa.training.module import Scored, ScoreModule, gather
from evqa.types import FACTS, Failure, LabelScale, Record


def score_split(trainer: lightning.Trainer, module: ScoreModule, datamodule: ScoreDataModule, split: str) -> Scored:
    """Score every record of a split, in the split's own order; the same on every rank."""
    datamodule.trainer = trainer
    trainer.predict(module, datamodule.evaluation_loader(split), return_predictions=False)
    place = {record.id: index for index, record in enumerate(datamodule.splits[split])}
    return gather(module.scored).ordered(place)


def write_predictions(
    folder: RunFolder,
    name: str,
    scored: Scored,
    *,
    records: Sequence[Record],
    rejects: Iterable[Failure],
    scale: LabelScale,
    about: dict[str, Any],
    facts: Mapping[str, FileFacts],
) -> dict[str, Any]:
    """Write NAME.csv, NAME.targets.csv and NAME.json; returns the content of the last.

    rejects: rows of the data set that never became items (bad labels, missing files). about: checkpoint, modality and
    so on, for the record. facts: what the manifest knows of the files, by id, for slices in a report.
    """
    rows = zip(scored.ids, scored.scores, strict=True)
    write_table(folder.prediction(name), ["Id", scale.name], [(id_, repr(score)) for id_, score in rows])
    _write_targets(folder.prediction(name, "targets.csv"), records, facts, scale)
    failures = [replace(failure, reason=hidden(failure.reason)) for failure in (*scored.failures, *rejects)]
    evaluation = evaluate(scored.scores, scored.labels, failures=failures)
    label = {"name": scale.name, "range": list(scale.range)}
    record = {**about, "label": label, **evaluation.to_json(), "missing": count_missing(scored.missing)}
    write_json(folder.prediction(name, "json"), record)
    return record


def count_missing(missing: Iterable[Sequence[str]]) -> dict[str, int]:
    """Count items by what their file lacks or what of them was cut, in sentences without the values of one item."""
    kinds = (kind for sentences in missing for kind in {Failure(id="", reason=one).kind for one in sentences})
    return dict(Counter(kinds).most_common())


def read_record(path: Path) -> dict[str, Any]:
    """Read NAME.json. Raises FileError where it is damaged or not such a record."""
    record = read_object(path)
    kinds = {"n": int, "num_failed": int, "failures": list, "metrics": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]
    if wrong:
        raise FileError(path, f"is damaged: {', '.join(wrong)} are missing or of another kind")
    return record


def _write_targets(path: Path, records: Sequence[Record], facts: Mapping[str, FileFacts], scale: LabelScale) -> None:
    tags = sorted({name for record in records for name in record.tags})
    rows = [
        (
            record.id,
            repr(record.label),
            facts[record.id].duration if record.id in facts else "",
            str(bool(facts[record.id].audio_codec)).lower() if record.id in facts else "",
            len(record.texts.get("title", "")),
            len(record.texts.get("description", "")),
            *(record.tags.get(name, "") for name in tags),
        )
        for record in records
        if record.label is not None
    ]
    if rows:
        write_table(path, ["Id", scale.name, *FACTS, *tags], rows)
