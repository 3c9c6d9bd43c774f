"""What became of one item, and the lines that say it."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from evqa.files.names import shown
from evqa.scoring.inputs import FoundInputs, InputItem
from evqa.scoring.score import Meaning, Score
from evqa.types import Failure

if TYPE_CHECKING:
    from evqa.scoring.scorer import Scorer


class ScoreOutcome(NamedTuple):
    """A score, or the reason why there is none.

    value: in the label's own scale, never clipped. reason, row, table: of a failure (`evqa.types.Failure`). missing:
    sentences on what the file lacks. is_extra, paths: see `evqa.scoring.inputs.InputItem`. was_tried: the scorer was
    asked.
    """

    id: str
    value: float | None = None
    missing: tuple[str, ...] = ()
    reason: str = ""
    row: int | None = None
    table: str | None = None
    is_extra: bool = False
    was_tried: bool = True
    paths: tuple[str, ...] = ()

    @property
    def failure(self) -> Failure:
        """The failure, of one that has no value."""
        return Failure(id=self.id, reason=self.reason, row=self.row, table=self.table)

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps: what is as usual is left out."""
        return {name: value for name, value in self._asdict().items() if value != _USUAL[name]}


_USUAL = ScoreOutcome("")._asdict() | {"id": None}


def read_outcome(content: Mapping[str, Any]) -> ScoreOutcome:
    """Undo `ScoreOutcome.to_json`. Raises TypeError where it is something else."""
    lists = {name: tuple(content.get(name, ())) for name in ("missing", "paths")}
    return ScoreOutcome(**{**content, **lists})


def not_tried(item: InputItem) -> ScoreOutcome:
    """What becomes of an item that cannot be scored."""
    return ScoreOutcome(item.id, None, (), item.reason, item.row, item.table, item.is_extra, False, item.paths)


def tried(item: InputItem, score: Score) -> ScoreOutcome:
    """What the scorer made of an item."""
    if score.id != item.id:
        raise AssertionError(f"the scorer answered {score.id!r} where {item.id!r} was asked")
    return outcome_of(score)._replace(is_extra=item.is_extra, paths=item.paths)


def score_items(scorer: Scorer, found: FoundInputs, *, begin: int = 0) -> Generator[ScoreOutcome, None, None]:
    """Yield what becomes of every item from a number on, in order; raises as `Scorer.score` does."""
    with contextlib.closing(scorer.score(found.records(start=begin))) as scores:
        for item in itertools.islice(found, begin, None):
            yield not_tried(item) if item.record is None else tried(item, next(scores))


def outcome_of(score: Score) -> ScoreOutcome:
    """What of a score is kept."""
    reason = score.failure.reason if score.failure else ""
    return ScoreOutcome(score.id, score.value, score.missing, reason)


def json_line(outcome: ScoreOutcome, meaning: Meaning, *, index: int | None = None, fill: float | None = None) -> str:
    r"""Return a line of ASCII with everything known; a byte of a name that is not UTF-8 is `\udcXX`, as Python has it.

    index: the item's place among the inputs, from 0. fill: the score that stands in a file for an item without one.
    """
    row: dict[str, Any] = {} if index is None else {"index": index}
    row |= {"id": outcome.id, "path": outcome.paths[0] if outcome.paths else None}
    if len(outcome.paths) > 1:
        row["paths"] = list(outcome.paths)
    if outcome.value is None:
        row |= {"status": "failed", "error": outcome.reason}
        if fill is not None and not outcome.is_extra:
            row["filled"] = fill
        return json.dumps(row)
    scale = meaning.scale
    row |= {"status": "scored", "label": scale.name, "range": list(scale.range), "score": outcome.value}
    row["outside"] = meaning.is_outside(outcome.value)
    if (percentile := meaning.percentile(outcome.value)) is not None:
        row["percentile"] = round(percentile, 2)
    if meaning.calibration is not None:
        value, low, high = meaning.calibration.of(outcome.value)
        row |= {"calibrated": value, "low": low, "high": high, "interval": meaning.calibration.statement}
    return json.dumps(row | {"missing": list(outcome.missing)})


def plain_line(outcome: ScoreOutcome, meaning: Meaning) -> str:
    """Return `id<TAB>score<TAB>notes`; without a score the second cell is empty and the third says why."""
    score = "" if outcome.value is None else repr(outcome.value)
    notes = [*calibrated_note(outcome, meaning), *notes_on(outcome, meaning)]
    return f"{shown(outcome.id)}\t{score}\t{shown('; '.join(notes))}"


def notes_on(outcome: ScoreOutcome, meaning: Meaning) -> list[str]:
    """What a reader should know of a score: beyond the scale, lacking media; or why there is none."""
    if outcome.value is None:
        return [f"not scored: {outcome.reason}"]
    low, high = meaning.scale.range
    outside = [f"outside {low:g}..{high:g}"] if meaning.is_outside(outcome.value) else []
    return [*outside, *outcome.missing]


def calibrated_note(outcome: ScoreOutcome, meaning: Meaning) -> list[str]:
    """A score's calibration in words: `calibrated 0.52, 90 % interval 0.28 to 0.77`; empty where there is none."""
    if meaning.calibration is None or outcome.value is None:
        return []
    value, low, high = meaning.calibration.of(outcome.value)
    return [f"calibrated {value:.4g}, {meaning.calibration.percent} interval {low:.4g} to {high:.4g}"]
