"""Score a split and write what design section 2 promises: a prediction file, its record, and its targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from evqa.config import identity
from evqa.config.environment import hidden
from evqa.datasets.base import FACTS
from evqa.datasets.manifest import FileFacts
from evqa.datasets.splits import group_names
from evqa.files.content import content_hash
from evqa.files.plain import write_json
from evqa.files.whole import write_table
from evqa.metrics import evaluate
from evqa.metrics.score_table import GROUP
from evqa.scoring.looks import count_looks
from evqa.scoring.score import Score
from evqa.scoring.scorer import Scorer
from evqa.training.folder import RunFolder
from evqa.training.plan import RunPlan
from evqa.types import Failure, LabelScale, Record


def score_all(
    scorer: Scorer, records: Sequence[Record], *, watch: Callable[[Iterator[Score]], Iterator[Score]] = iter
) -> list[Score]:
    """Score records in their order; each process of a distributed run scores its share, and all get the same list.

    watch: is given this process's scores as they come and hands them on, e.g. to show progress.
    """
    rank, world = _place_among_processes()
    mine = list(watch(scorer.score(records[rank::world])))
    if world == 1:
        return mine
    shares: list[Any] = [None] * world
    torch.distributed.all_gather_object(shares, mine)
    return [shares[place % world][place // world] for place in range(len(records))]


def _place_among_processes() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def write_predictions(
    folder: RunFolder,
    name: str,
    scores: Sequence[Score],
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
    scored = [(score, score.value) for score in scores if score.value is not None]
    write_table(folder.prediction(name), ["Id", scale.name], [(score.id, repr(value)) for score, value in scored])
    _write_targets(folder.prediction(name, "targets.csv"), records, facts, scale)
    without = [score.failure for score in scores if score.failure is not None]
    failures = [replace(failure, reason=hidden(failure.reason)) for failure in (*without, *rejects)]
    labels = [math.nan if score.label is None else score.label for score, _ in scored]
    groups = dict(zip((record.id for record in records), group_names(records), strict=True))
    evaluation = evaluate(
        [value for _, value in scored], labels, groups=[groups[score.id] for score, _ in scored], failures=failures
    )
    label = {"name": scale.name, "range": list(scale.range)}
    lacking = count_missing(score.missing for score, _ in scored)
    record = {**about, "label": label, **evaluation.to_json(), "missing": lacking}
    look = count_looks(folder, record)
    if look is not None:
        record["look"] = look
    write_json(folder.prediction(name, "json"), record)
    return record


def count_missing(missing: Iterable[Sequence[str]]) -> dict[str, int]:
    """Count items by what their file lacks or what of them was cut, in sentences without the values of one item."""
    kinds = [dict.fromkeys(Failure(id="", reason=one).kind for one in sentences) for sentences in missing]
    return dict(Counter(chain.from_iterable(kinds)).most_common())


def _write_targets(path: Path, records: Sequence[Record], facts: Mapping[str, FileFacts], scale: LabelScale) -> None:
    tags = sorted({name for record in records for name in record.tags})
    groups = group_names(records)
    grouped = [GROUP] if any(groups) else []
    rows = [
        (
            record.id,
            repr(record.label),
            *([group or ""] if grouped else []),
            facts[record.id].duration if record.id in facts else "",
            str(bool(facts[record.id].audio_codec)).lower() if record.id in facts else "",
            len(record.texts.get("title", "")),
            len(record.texts.get("description", "")),
            *(record.tags.get(name, "") for name in tags),
        )
        for record, group in zip(records, groups, strict=True)
        if record.label is not None
    ]
    if rows:
        write_table(path, ["Id", scale.name, *grouped, *FACTS, *tags], rows)


def made_with(
    plan: RunPlan, checkpoint: Path, split: str, modal: str | None = None, *, note: str | None = None
) -> dict[str, Any]:
    """State what a prediction file was made with. note: why it is not the best checkpoint."""
    return {
        "split": split,
        "modal": modal or plan.modal,
        "checkpoint": checkpoint.name,
        **({"checkpoint_note": note} if note else {}),
        "checkpoint_sha256": content_hash(checkpoint),
        "config_sha256": identity.fingerprint(plan.recorded),
    }
