"""What a user is told of a scoring: counts, the first and the lowest scores at the end."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from evqa.config.environment import hidden
from evqa.files.terminal import Terminal, terminal
from evqa.scoring.outcome import ScoreOutcome, notes_on
from evqa.scoring.score import Meaning

NUM_SHOWN = 5  # first scores, and lowest ones
NUM_ALL = 10  # scores up to which all are shown
NUM_FAILURES = 20
NUM_KINDS = 200  # different reasons that are counted apart
OTHER = "other reasons"


@dataclass
class Tally:
    """Counts of what became of all items, and the few of them that are shown.

    fill: see `evqa.scoring.outputs.write_scores`. num_ids: items that a file of scores may have a row for.
    """

    fill: float | None = None
    num_ids: int = 0
    num_scored: int = 0
    num_outside: int = 0
    failures: list[ScoreOutcome] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    first: list[ScoreOutcome] = field(default_factory=list)
    _kinds: dict[str, str] = field(default_factory=dict)
    _lowest: list[tuple[float, int, ScoreOutcome]] = field(default_factory=list)  # a heap, the highest of them on top

    @property
    def num_failed(self) -> int:
        """Items without a score."""
        return self.reasons.total()

    def lowest(self) -> list[ScoreOutcome]:
        """The lowest scores, the lowest first."""
        return [outcome for _, _, outcome in sorted(self._lowest, key=lambda entry: (-entry[0], -entry[1]))]

    def add(self, outcome: ScoreOutcome, *, is_outside: bool) -> None:
        """Count one more."""
        self.num_ids += not outcome.is_extra
        if outcome.value is None:
            self._add_failure(outcome)
            return
        self.num_scored += 1
        self.num_outside += is_outside
        if len(self.first) < NUM_ALL:
            self.first.append(outcome)
        entry = (-outcome.value, -self.num_scored, outcome)
        if len(self._lowest) < NUM_SHOWN:
            heapq.heappush(self._lowest, entry)
        elif entry[:2] > self._lowest[0][:2]:
            heapq.heapreplace(self._lowest, entry)

    def _add_failure(self, outcome: ScoreOutcome) -> None:
        if len(self.failures) < NUM_FAILURES:
            self.failures.append(outcome)
        kind = self._kind(outcome)
        self.reasons[kind] += 1
        if self.fill is not None and not outcome.is_extra:
            self.filled[kind] += 1

    def _kind(self, outcome: ScoreOutcome) -> str:
        """The kind of a failure, looked up where the same words with another id came before."""
        words = outcome.reason.replace(outcome.id, "<Id>") if outcome.id else outcome.reason
        kind = self._kinds.get(words)
        if kind is None:
            kind = outcome.failure.kind
            kind = kind if kind in self.reasons or len(self.reasons) < NUM_KINDS else OTHER
            if len(self._kinds) < NUM_KINDS:
                self._kinds[words] = kind
        return kind


def print_summary(tally: Tally, meaning: Meaning, *, console: Terminal, with_scores: bool) -> None:
    """Print counts and reasons; with_scores: also a table of the first and the lowest scores."""
    if with_scores and tally.num_scored:
        print_scores(tally, meaning, console)
    if meaning.calibration and tally.num_scored:
        console.print(f"calibrated, low, high: {meaning.calibration.statement}.")
    print_failures(tally, terminal(stderr=True, level="warning") if console.quiet else console)
    outside = f", {tally.num_outside} of them outside the scale (not clipped)" if tally.num_outside else ""
    console.print(f"{tally.num_scored} scored{outside}, {tally.num_failed} failed.")
    if tally.fill is not None and tally.filled:
        console.print(f"Filled with {tally.fill:g}: {tally.filled.total()} of {tally.num_ids} ids.")
        _print_counts(tally.filled, console)


def print_scores(tally: Tally, meaning: Meaning, console: Terminal) -> None:
    """Print a table: all scores of a few items, else the first and the lowest ones."""
    scale = meaning.scale
    calibrated = ["calibrated", "low", "high"] if meaning.calibration else []
    columns = ["video", scale.name, *calibrated, *(["percentile"] if meaning.training_labels else []), "notes"]
    table = Table(*columns, title=f"{scale.name} on {scale.low:g} to {scale.high:g}")
    if tally.num_scored <= NUM_ALL:
        groups = [tally.first]
    else:
        groups = [tally.first[:NUM_SHOWN], tally.lowest()]
        table.caption = f"the first {NUM_SHOWN} and the lowest {NUM_SHOWN} of {tally.num_scored}"
    for group in groups:
        for outcome in group:
            table.add_row(*_cells(outcome, meaning))
        table.add_section()
    console.print(table)
    if meaning.training_labels:
        console.print("percentile: share of the training labels below the score.")


def _cells(outcome: ScoreOutcome, meaning: Meaning) -> list[str]:
    assert outcome.value is not None
    percentile = meaning.percentile(outcome.value)
    place = [] if percentile is None else [f"{percentile:.0f}"]
    ends = [f"{number:.4f}" for number in meaning.calibrated(outcome.value) or ()]
    return [outcome.id, f"{outcome.value:.4f}", *ends, *place, "; ".join(notes_on(outcome, meaning)) or "-"]


def print_failures(tally: Tally, console: Terminal, *, place: Path | None = None) -> None:
    """Print the first failures, and how many there are of each kind. place: where all of them are listed."""
    for outcome in tally.failures:
        console.print(hidden(f"not scored: {outcome.failure}"))
    if tally.num_failed > len(tally.failures):
        console.print(f"... and {tally.num_failed - len(tally.failures)} more.")
    if tally.num_failed > 1:
        console.print(f"Not scored, by reason ({tally.num_failed}):")
        _print_counts(tally.reasons, console)
    if place is not None:
        console.print(f"All failures: {place}")


def _print_counts(counts: Counter[str], console: Terminal) -> None:
    for kind, count in counts.most_common():
        console.print(hidden(f"  {count} x {kind}"))
