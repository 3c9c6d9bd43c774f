"""Many files scored one after another: what is done so far, and the files of it at the end."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evqa.config.environment import hidden
from evqa.files.names import listed
from evqa.files.progress import seconds_left
from evqa.scoring import outputs
from evqa.scoring.outcome import ScoreOutcome, score_items
from evqa.scoring.score import Meaning
from evqa.web.asked import REFUSALS, sentences_of
from evqa.web.scorers import OfferedScorer
from evqa.web.uploads import Upload, uploaded_batch

SHOWN_SECONDS = 0.3  # from one state that is shown to the next


@dataclass
class StopSign:
    """Whether the visitor has asked to stop; the batch ends behind the item at hand."""

    is_asked: bool = False


@dataclass
class FileBatch:
    """A batch at work, or its end.

    num_items: of all. seconds: since it began. notes: what is worth telling. problems: why it could not go on, or
    begin. is_over: nothing follows.
    """

    meaning: Meaning
    num_items: int = 0
    outcomes: list[ScoreOutcome] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_over: bool = False

    @property
    def scored(self) -> list[ScoreOutcome]:
        """Those with a score."""
        return [outcome for outcome in self.outcomes if outcome.value is not None]

    @property
    def failed(self) -> list[ScoreOutcome]:
        """Those without."""
        return [outcome for outcome in self.outcomes if outcome.value is None]

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at the pace so far; None where nothing was tried yet."""
        num_done = sum(outcome.was_tried for outcome in self.outcomes)
        return seconds_left(num_done, num_done + self.num_items - len(self.outcomes), seconds=self.seconds)


def score_batch(uploads: Sequence[Upload], offered: OfferedScorer, *, stop: StopSign) -> Iterator[FileBatch]:
    """Score uploaded files, or what uploaded tables name of them; yields the same batch again as it grows.

    It ends early where the visitor asks for it, or has used up the time of a request.
    """
    batch, laid_out = FileBatch(meaning=offered.scorer.meaning), None
    began, deadline = time.monotonic(), offered.deadline()
    try:
        with uploaded_batch(uploads) as laid_out:
            found = laid_out.find(offered)
            batch.num_items = found.num_items
            batch.notes = [laid_out.said(note) for note in found.notes] + _unused(laid_out.unused(found))
            yield batch
            shown_at = began
            with contextlib.closing(score_items(offered.scorer, found)) as outcomes:
                for outcome in outcomes:
                    batch.outcomes.append(outcome._replace(reason=laid_out.said(hidden(outcome.reason)), paths=()))
                    batch.seconds = time.monotonic() - began
                    if stop.is_asked or deadline.is_over:
                        break
                    if time.monotonic() - shown_at >= SHOWN_SECONDS:
                        shown_at = time.monotonic()
                        yield batch
    except REFUSALS as error:
        sentences = sentences_of(error)
        batch.problems = sentences if laid_out is None else [laid_out.said(one) for one in sentences]
    if deadline.is_over and len(batch.outcomes) < batch.num_items:
        batch.notes.append(deadline.sentence)
    batch.is_over = True
    yield batch


def _unused(names: Sequence[str]) -> list[str]:
    return [f"No row names {listed(names)}; what no row names is not scored."] if names else []


def scores_csv(batch: FileBatch) -> bytes:
    """Return what `evqa predict --out scores.csv` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scores.csv")
        outputs.write_scores(path, batch.outcomes, meaning=batch.meaning, fill=None)
        return path.read_bytes()


def failures_csv(batch: FileBatch) -> bytes:
    """Return what has no score and why, with table and row where a table names it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["Id", "error", "table", "row"])
    rows.writerows((one.id, one.reason, one.table or "", one.row or "") for one in batch.failed)
    return text.getvalue().encode("utf-8", "backslashreplace")
