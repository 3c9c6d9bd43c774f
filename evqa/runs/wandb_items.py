"""The items of a split as a table of W&B: a small picture, title, score, label and error, the largest errors first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evqa.errors import MediaError
from evqa.media.limits import Limits
from evqa.media.thumbnails import small_picture
from evqa.scoring.score import Score
from evqa.types import Record

PICTURE_PIXELS = 96 * 96
COLUMNS = ["id", "picture", "title", "score", "label", "error"]


def item_table(scores: Iterable[Score], records: Sequence[Record], *, at_most: int, limits: Limits) -> Any:
    """Make a `wandb.Table` of scored items, `at_most` of them; error: score - label, in the label's own scale.

    Items without a label come last, in their order. An item whose file shows no picture has none.
    """
    import wandb

    chosen = sorted((score for score in scores if score.value is not None), key=_by_error)[:at_most]
    record_of = {record.id: record for record in records}
    rows = []
    for score in chosen:
        record = record_of[score.id]
        image = _picture(record.paths[0], limits) if record.paths else None
        rows.append([score.id, image, record.texts.get("title", ""), score.value, score.label, _error(score)])
    return wandb.Table(columns=[*COLUMNS], data=rows, allow_mixed_types=True)


def _error(score: Score) -> float | None:
    return None if score.label is None or score.value is None else score.value - score.label


def _by_error(score: Score) -> float:
    error = _error(score)
    return 1.0 if error is None else -abs(error)


def _picture(path: Path, limits: Limits) -> Any:
    import wandb

    try:
        return wandb.Image(small_picture(path, limits, max_pixels=PICTURE_PIXELS), file_type="jpg")
    except MediaError:
        return None
