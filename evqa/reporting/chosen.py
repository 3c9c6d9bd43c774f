"""Which checkpoint a run is scored with, where it was chosen on the very items of its score: the number is too good.

The best of several noisy values is on average above its true one, by more for more validations and fewer items. What
the last one scored was not chosen and stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evqa.config.metric_names import LOSS

if TYPE_CHECKING:
    from evqa.reporting.study import Setting, Study  # a finished run is told without NumPy

CHOSEN_ON = ("val", "val-eval")  # scores of the items that checkpoints are chosen on


@dataclass(frozen=True, kw_only=True)
class ChosenCheckpoint:
    """place: e.g. `epoch 3 of 4`. last: the metric of the last validation; NaN where it has none."""

    place: str
    last: float


def chosen(
    name: str,
    *,
    record: Mapping[str, Any],
    config: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    metric: str,
) -> ChosenCheckpoint | None:
    """Which checkpoint gave the scores of predictions/NAME; None where it was not chosen on these items.

    record: the content of predictions/NAME.json. config: the run's, resolved. history: the rows of metrics.jsonl.
    """
    if name not in CHOSEN_ON or record.get("checkpoint") != "best.ckpt" or record.get("overrides"):
        return None
    monitor = _monitor(config)
    rows = [row for row in history if _is_number(row.get(monitor))]
    if len(rows) < 2:
        return None
    values = [-row[monitor] if monitor == LOSS else row[monitor] for row in rows]
    last = rows[-1].get(f"val/{metric}", math.nan)
    return ChosenCheckpoint(
        place=_place(rows, values.index(max(values))), last=float(last) if _is_number(last) else math.nan
    )


def chosen_of(study: Study, setting: Setting) -> list[ChosenCheckpoint]:
    """The checkpoints of a setting's runs; empty where one was not chosen on these items."""
    found = [
        chosen(study.split, record=run.record, config=run.config, history=run.history, metric=study.metric)
        for run in setting.runs
    ]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else []


def _monitor(config: Mapping[str, Any]) -> str:
    part: object = config
    for key in ("callbacks", "checkpoints", "monitor"):
        part = part.get(key) if isinstance(part, Mapping) else None
    return part if isinstance(part, str) else "val/challenge"


def _place(rows: Sequence[Mapping[str, Any]], best: int) -> str:
    epochs = [epoch for row in rows if isinstance(epoch := row.get("epoch"), int)]
    if len(set(epochs)) == len(rows):
        return f"epoch {rows[best]['epoch'] + 1} of {rows[-1]['epoch'] + 1}"
    return f"validation {best + 1} of {len(rows)}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
