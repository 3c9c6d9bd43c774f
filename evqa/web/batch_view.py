"""A batch as the page shows it: how far it is, its table, what failed, and files to take along."""

from __future__ import annotations

import base64

from evqa.files.progress import Standing
from evqa.scoring.outcome import ScoreOutcome, notes_on
from evqa.scoring.score import Meaning
from evqa.web.batch import FileBatch, failures_csv, scores_csv
from evqa.web.fragments import Markup, error_box, progress_bar, table, tag

MOST_ROWS = 1000  # that the page shows; the files have all
LAST_ROWS = 20  # that it shows while the batch goes on


def progress(batch: FileBatch) -> Markup:
    """Say how far a batch is, and how long the rest will take."""
    num_done, num_items = len(batch.outcomes), batch.num_items
    counts = f"{len(batch.scored)} scored, {len(batch.failed)} failed"
    if batch.is_over:
        said = f"{counts}; {batch.seconds:.1f} s."
        if num_done < num_items:
            said = f"Stopped after {num_done} of {num_items}: {said}"
        return tag("p", said, role="status") if num_items else tag("p")
    share, left_s = num_done / num_items, batch.seconds_left
    standing = Standing(place=f"{num_done} of {num_items}", share=share, facts=(counts,), left_s=left_s)
    return progress_bar(standing, about="how far the batch is")


def score_table(batch: FileBatch) -> Markup:
    """Show the scores in the order of the input, which a header sorts; before the end, the last ones."""
    meaning = batch.meaning
    header = ["id", meaning.scale.name]
    header += ["calibrated", "low", "high"] if meaning.calibration else []
    header += ["percentile"] if meaning.training_labels else []
    shown = batch.scored[:MOST_ROWS] if batch.is_over else batch.scored[-LAST_ROWS:]
    caption = "Scores" if batch.is_over else f"Scores, the last {len(shown)} so far"
    rows = [_row(one, meaning) for one in shown]
    return table([*header, "notes"], rows, caption=caption, sorts=True) if rows else tag("div")


def _row(outcome: ScoreOutcome, meaning: Meaning) -> list[str]:
    assert outcome.value is not None
    ends = [f"{number:.4f}" for number in meaning.calibrated(outcome.value) or ()]
    percentile = meaning.percentile(outcome.value)
    place = [] if percentile is None else [f"{percentile:.0f}"]
    return [outcome.id, f"{outcome.value:.4f}", *ends, *place, "; ".join(notes_on(outcome, meaning))]


def ending(batch: FileBatch) -> Markup:
    """Show what failed and why, notes, and the files; before the end, nothing."""
    if not batch.is_over:
        return tag("div")
    parts = [error_box(batch.problems)] if batch.problems else []
    if batch.failed:
        rows = [(one.id, _place(one), one.reason) for one in batch.failed[:MOST_ROWS]]
        parts.append(table(("id", "place", "why"), rows, caption=f"{len(batch.failed)} without a score"))
    if len(batch.scored) > MOST_ROWS or len(batch.failed) > MOST_ROWS:
        parts.append(tag("p", f"The tables show {MOST_ROWS} rows at most; the files have all."))
    parts += [tag("p", f"Note: {note}") for note in batch.notes]
    if batch.scored and batch.meaning.calibration is not None:
        parts.append(tag("p", f"calibrated, low, high: {batch.meaning.calibration.statement}."))
    files = [_file("scores.csv", scores_csv(batch))] if batch.scored else []
    files += [_file("failures.csv", failures_csv(batch))] if batch.failed else []
    return tag("div", *parts, tag("p", *files, class_="evqa-files"))


def _place(outcome: ScoreOutcome) -> str:
    return f"{outcome.table}, row {outcome.row}" if outcome.table else "-"


def _file(name: str, content: bytes) -> Markup:
    address = f"data:text/csv;base64,{base64.b64encode(content).decode()}"
    return tag("a", f"Download {name}", href=address, download=name)
