"""Score a split and write what design section 2 promises: a prediction file, its record, and its targets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning

from evqa.datamodule import ScoreDataModule
from evqa.metrics import evaluate
from evqa.module import Scored, ScoreModule, gather
from evqa.runs.folder import RunFolder, write_whole
from evqa.types import Failure, LabelScale, Record


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
) -> dict[str, Any]:
    """Write NAME.csv, NAME.targets.csv and NAME.json; returns the content of the last.

    rejects: rows of the data set that never became items (bad labels, missing files). about: checkpoint, modality and
    so on, for the record.
    """
    rows = zip(scored.ids, scored.scores, strict=True)
    write_table(folder.prediction(name), ["Id", scale.name], [(id_, repr(score)) for id_, score in rows])
    labelled = [
        (r.id, repr(r.label), len(r.title or ""), len(r.description or "")) for r in records if r.label is not None
    ]
    columns = ["Id", scale.name, "title_chars", "description_chars"]
    if labelled:
        write_table(folder.prediction(name, "targets.csv"), columns, labelled)
    evaluation = evaluate(scored.scores, scored.labels, failures=(*scored.failures, *rejects))
    record = {**about, "label": {"name": scale.name, "range": list(scale.range)}, **evaluation.to_json()}
    write_whole(folder.prediction(name, "json"), json.dumps(record, indent=2, allow_nan=False) + "\n")
    return record


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_whole(path, text.getvalue())
