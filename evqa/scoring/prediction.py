"""`python -m evqa.predict`: score files, folders and tables of videos, one or a million."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evqa import __version__
from evqa.errors import ConfigError, FileError, IncompleteError, RunError
from evqa.files.log import say_begin
from evqa.files.names import from_system, is_text
from evqa.files.progress import counted
from evqa.files.terminal import terminal
from evqa.files.whole import check_place
from evqa.machine.imports import importing
from evqa.scoring import outputs
from evqa.scoring.command import digest_of_scorer
from evqa.scoring.inputs import FEW_ITEMS, FoundInputs, find_inputs
from evqa.scoring.journal import ScoreJournal, check_identity
from evqa.scoring.outcome import ScoreOutcome, json_line, not_tried, plain_line, score_items
from evqa.scoring.progress import Tally, print_failures, print_summary
from evqa.scoring.request import Request
from evqa.scoring.score import Meaning
from evqa.scoring.settings import own_columns, reads_images, reads_sound_alone
from evqa.types import LabelScale

if TYPE_CHECKING:
    from evqa.scoring.scorer import Scorer


def predict(request: Request) -> None:
    """Score the inputs, print what became of them, and write --out.

    Raises:
        RunError: not one input could be scored; then no scores are written.
        IncompleteError: with --strict, behind everything else: some could not.
    """
    _check(request)
    try:
        found = _find(request)
    except KeyboardInterrupt:
        _say("Stopped before anything was scored.")
        raise
    for note in found.notes:
        _say(f"Note: {note}")
    scoring = Scoring(request, found)
    if not found.num_usable:
        raise scoring.none_usable()
    num_failed = 0
    if request.out is None:
        scoring.run()
    elif about := _complete(request, identity := _identity(request, found)):
        num_failed = about.get("failed", 0)
    else:
        scoring.run_into_file(request.out, identity)
    if request.strict and (num_failed := num_failed or scoring.tally.num_failed):
        raise IncompleteError(f"--strict: {num_failed} of {found.num_items} inputs have no score.")


def _find(request: Request) -> FoundInputs:
    return find_inputs(
        request.inputs,
        videos=request.videos,
        columns=request.columns,
        own_columns=own_columns(request.scorer, request.override),
        title=request.title,
        description=request.description,
        with_sound=reads_sound_alone(request.scorer, request.modal, request.override),
        with_images=reads_images(request.scorer, request.override),
    )


class Scoring:
    """One command at work: every outcome is counted, printed and, with --out, kept in a journal."""

    def __init__(self, request: Request, found: FoundInputs) -> None:
        self.request, self.found = request, found
        self.tally = Tally(fill=request.fill)
        self.meaning = Meaning(scale=LabelScale())  # until there is a scorer; failures need none
        self.prints_table = not request.json and sys.stdout.isatty()
        self.num_done = 0

    def run(self, journal: ScoreJournal | None = None) -> None:
        """Score what is not in the journal yet."""
        try:
            scorer = load_scorer(self.request)
            self.meaning = scorer.meaning
            if self.meaning.uncalibrated:
                _say(f"Note: {self.meaning.uncalibrated}.")
            if self.found.num_usable <= FEW_ITEMS:
                scorer.read_here()
            _check_fill(self.request.fill, self.meaning.scale)
            if journal is not None:
                self._repeat(journal, batch_size=scorer.window)
            with counted("scoring", self.found.num_items, begin=self.num_done, stderr=True) as counting:
                self._go_on(scorer, journal, counting.move)
        except KeyboardInterrupt:
            self._tell_stop(journal)
            raise KeyboardInterrupt from None
        if journal is None:
            self._tell_end()

    def run_into_file(self, out: Path, identity: dict[str, Any]) -> None:
        """Score with a journal beside the file of scores, which is made of it at the end."""
        journal = ScoreJournal(outputs.part_of(out), identity, replace=self.request.overwrite)
        with contextlib.closing(journal):
            self.run(journal)
            journal.flush()
            place = outputs.write_failures(out, journal.outcomes())
            if self.tally.num_scored:
                try:
                    outputs.write_scores(out, journal.outcomes(), meaning=self.meaning, fill=self.request.fill)
                    outputs.write_about(out, self._about(identity))
                finally:  # a full disk does not take the scores along
                    self._tell_end()
            journal.remove()
        if not self.tally.num_scored:
            self._tell_end()
        if place is not None:
            _say(f"All failures: {place}")
        _say(f"Scores: {out}")
        if self.meaning.calibration and outputs.holds_scores_alone(out):
            _say("Note: it holds the scores alone; calibrated ones and intervals stand in .jsonl and .parquet files.")

    def none_usable(self) -> RunError:
        """Count and print why nothing can be scored."""
        outcomes = self._counted(not_tried(item) for item in self.found)
        place = None
        if self.request.out is None:
            for _ in outcomes:
                pass
        else:
            place = outputs.write_failures(self.request.out, outcomes)
        print_failures(self.tally, terminal(stderr=True, level="warning"), place=place)
        return _nothing_scored(self.tally)

    def _repeat(self, journal: ScoreJournal, *, batch_size: int) -> None:
        journal.cut(batch_size=batch_size, num_items=self.found.num_items)
        for outcome in journal.outcomes():
            self._count(outcome)
        if self.num_done:
            _say(f"Note: {self.num_done} of {self.found.num_items} were done before; this goes on behind them.")

    def _go_on(self, scorer: Scorer, journal: ScoreJournal | None, move: Callable[[int], None]) -> None:
        with contextlib.closing(score_items(scorer, self.found, begin=self.num_done)) as outcomes:
            for outcome in outcomes:
                if journal is not None:
                    journal.append(outcome)
                self._count(outcome)
                if outcome.was_tried:
                    move(self.num_done)
                    sys.stdout.flush()
                    if journal is not None:
                        journal.flush()

    def _counted(self, outcomes: Iterator[ScoreOutcome]) -> Iterator[ScoreOutcome]:
        for outcome in outcomes:
            self._count(outcome)
            yield outcome

    def _count(self, outcome: ScoreOutcome) -> None:
        is_outside = outcome.value is not None and self.meaning.is_outside(outcome.value)
        self.tally.add(outcome, is_outside=is_outside)
        index, self.num_done = self.num_done, self.num_done + 1
        if self.request.json:
            sys.stdout.write(json_line(outcome, self.meaning, index=index, fill=self.request.fill) + "\n")
        elif not self.prints_table:
            sys.stdout.write(plain_line(outcome, self.meaning) + "\n")

    def _tell_end(self) -> None:
        if not self.tally.num_scored:
            print_failures(self.tally, terminal(stderr=True, level="warning"))
            raise _nothing_scored(self.tally)
        console = terminal(stderr=not self.prints_table)
        print_summary(self.tally, self.meaning, console=console, with_scores=self.prints_table)

    def _tell_stop(self, journal: ScoreJournal | None) -> None:
        done = f"Stopped after {self.num_done} of {self.found.num_items}"
        if journal is None:
            _say(f"{done}; with --out FILE, the same command would continue there.")
        else:
            journal.flush()
            _say(f"{done}, which are kept in {journal.path}; the same command continues there.")

    def _about(self, identity: dict[str, Any]) -> dict[str, Any]:
        scale, tally = self.meaning.scale, self.tally
        counts = {"scored": tally.num_scored, "outside": tally.num_outside, "failed": tally.num_failed}
        counts["filled"] = tally.filled.total()
        about = {
            "evqa": __version__,
            "label": scale.name,
            "range": list(scale.range),
            "scorer": str(self.request.scorer),
            **({"interval": calibration.statement} if (calibration := self.meaning.calibration) else {}),
        }
        return {**about, **counts, "reasons": dict(tally.reasons.most_common()), "command": identity}


def load_scorer(request: Request) -> Scorer:
    """Load what scores; heavy, so only when there is something to score."""
    say_begin(f"Loading the scorer {request.scorer}.")
    with importing():
        from evqa.scoring.load import load
    return load(request.scorer, checkpoint=request.ckpt, overrides=request.override, modal=request.modal)


def _identity(request: Request, found: FoundInputs) -> dict[str, Any]:
    """What makes it the same command: see `evqa.scoring.journal.SAID`."""
    return {
        "inputs": found.digest(),
        "scorer": digest_of_scorer(Path(request.scorer), request.ckpt),
        "modal": request.modal,
        "overrides": sorted(request.override),
        "fill": request.fill,
    }


def _complete(request: Request, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What was recorded where the same command has written --out before, which is said; else None.

    Raises:
        ConfigError: something else has.
    """
    out = request.out
    assert out is not None
    if request.overwrite or not out.exists() or outputs.part_of(out).exists():
        return None
    about = outputs.read_about(out)
    if about is None or not isinstance(about.get("command"), dict):
        mend = "Give another name, or replace it with --overwrite."
        raise ConfigError([f"--out: {out} is there already, and nothing says what it was made of. {mend}"])
    check_identity(out, about["command"], identity)
    counts = f"{about.get('scored')} scored, {about.get('failed')} failed"
    _say(f"{out} is complete ({counts}): this command has written it before. --overwrite scores everything again.")
    return about


def _check(request: Request) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        ConfigError: flags that cannot be used; a place where --out cannot be written.
    """
    problems = []
    if request.fill is not None and request.out is None:
        problems.append(f"--fill {request.fill:g}: filled scores stand in a file only; give --out FILE.csv.")
    if request.overwrite and request.out is None:
        problems.append("--overwrite: there is nothing to replace; give --out FILE.csv.")
    if not all(is_text(from_system(text)) for text in (request.title, request.description) if text):
        problems.append("--title, --description: the text is not UTF-8.")
    if problems:
        raise ConfigError(problems)
    try:
        if request.out is not None:
            check_place(request.out)
            outputs.check_format(request.out)
    except FileError as error:
        mend = "give the name of a file that can be written; --json prints to the standard output"
        raise ConfigError([f"--out {error}; {mend}."]) from error


def _check_fill(fill: float | None, scale: LabelScale) -> None:
    if fill is not None and not (math.isfinite(fill) and scale.low <= fill <= scale.high):
        raise ConfigError(
            [f"--fill {fill:g}: give a number in {scale.low:g}..{scale.high:g}, the range of {scale.name}."]
        )


def _nothing_scored(tally: Tally) -> RunError:
    return RunError(f"None of the {tally.num_failed} inputs could be scored.")


def _say(text: str) -> None:
    terminal(stderr=True).print(text)
