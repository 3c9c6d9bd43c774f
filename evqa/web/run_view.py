"""The list of runs, and one run, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evqa.config.metric_names import PRINTED
from evqa.media.suffixes import AUDIO, IMAGE
from evqa.reporting.item_media import shortened
from evqa.reporting.runs import Run
from evqa.runs.kept import differing, kept_run, metric_value, read_metrics, without_labels
from evqa.runs.listing import date, score_of, size
from evqa.runs.results import choices
from evqa.web.fragments import Markup, alone, table, tag
from evqa.web.run_curves import curves
from evqa.web.run_folders import (
    VALIDATION,
    RunFolders,
    RunRow,
    WorstItem,
    experiment,
    experiments,
    interval,
    worst_items,
)
from evqa.web.run_media import MediaShelf

COLUMNS = ("run", "status", "score (n)", "95 % interval", "notes", "setting", "size", "date")
CHOOSING = (
    "Scores on {split}, the best of each experiment first. A run that is chosen by them is chosen on these items: its "
    "score there is then too good."
)


def list_view(folders: RunFolders, rows: Sequence[RunRow], *, split: str) -> Markup:
    """Show all runs, a table for each experiment."""
    if not rows:
        return tag("p", f"There are no runs in {folders.root}.")
    has_scores = any(row.kept and row.kept.score is not None for row in rows)
    parts = [tag("p", CHOOSING.format(split=split))] if has_scores and split != VALIDATION else []
    for name in experiments([row.name for row in rows]):
        members = [row for row in rows if experiment(row.name) == name]
        known = [row.kept for row in members if row.kept]
        settings = dict(zip((run.path for run in known), differing(known), strict=True))
        columns = [column for column in COLUMNS if column != "notes" or any(row.problem for row in members)]
        cells = [[_cells(row, settings).get(column, "") for column in columns] for row in members]
        parts.append(table(columns, cells, caption=name or folders.root.name, sorts=True))
    return tag("div", *parts, class_="evqa-runs")


def _cells(row: RunRow, settings: Mapping[Path, str]) -> dict[str, str]:
    known = {"run": row.name.rpartition("/")[2], "notes": row.problem}
    if row.kept is None:
        return known | {"status": "damaged"}
    run = row.kept
    if run.status == "finished":
        known["score (n)"] = score_of(run)
        known["95 % interval"] = "" if row.ends is None else f"{row.ends[0]:.4f} to {row.ends[1]:.4f}"
    about = {"status": run.status, "size": size(run.num_bytes), "date": date(run.changed)}
    return known | about | {"setting": settings[run.path]}


def run_json(row: RunRow) -> dict[str, Any]:
    """A row of the list as plain values."""
    run = row.kept
    low, high = row.ends or (None, None)
    known = {} if run is None else {"score": run.score, "low": low, "high": high, "n": run.num_scored}
    status = "damaged" if run is None else run.status
    return {"run": row.name, "status": status, **known, "problem": row.problem or None}


def run_view(folders: RunFolders, name: str, run: Run, shelf: MediaShelf, *, split: str) -> Markup:
    """Show what a run was, what it reached on a split, how it learned, and its worst items."""
    kept = kept_run(run.path, split=split)
    setting = " ".join(kept.setting) or "the defaults"
    return tag(
        "div",
        tag("h3", name),
        tag("p", f"{kept.status}, {date(kept.changed)}, {size(kept.num_bytes)}; setting: {setting}"),
        *([tag("p", f"Note: {folders.said(run.problem)}.")] if run.problem else []),
        *_metrics(run, split),
        curves(run.history),
        *_worst(folders, run, shelf, split=split),
    )


def _metrics(run: Run, split: str) -> list[Markup]:
    record = read_metrics(run.path, split)
    if not record:
        return []
    if said := without_labels(record):
        return [tag("p", f"{split}: {said}.")]
    rows = []
    for name in record.get("metrics", {}):
        value, ends = metric_value(record, name), interval(record, name)
        if value is not None:
            low, high = ("-", "-") if ends is None else (f"{end:.4f}" for end in ends)
            rows.append((PRINTED.get(name, name), f"{value:.4f}", low, high))
    caption = f"{split}: n = {record.get('n')}, {record.get('num_failed')} failed"
    notes = choices(record, name=split, config=run.config, history=run.history)
    return [table(("metric", "value", "low", "high"), rows, caption=caption), *(tag("p", f"{note}.") for note in notes)]


def _worst(folders: RunFolders, run: Run, shelf: MediaShelf, *, split: str) -> list[Markup]:
    items, why = worst_items(run, split=split)
    if not items:
        return []
    heading = tag("h4", f"The {len(items)} largest errors of {split} (score less label)")
    note = [tag("p", f"Note: {folders.said(why)}")] if why else []
    return [heading, *note, tag("div", *(_item(one, shelf) for one in items), class_="evqa-worst")]


def _item(one: WorstItem, shelf: MediaShelf) -> Markup:
    title = shortened(one.record.texts.get("title", "")) if one.record else ""
    numbers = f"score {one.score:.4g}, label {one.item.label:.4g}, error {one.error:+.4g}"
    said = tag("figcaption", tag("strong", one.id), tag("div", numbers), *([tag("div", title)] if title else []))
    return tag("figure", *([_player(path, shelf) for path in one.record.paths] if one.record else []), said)


def _player(path: Path, shelf: MediaShelf) -> Markup:
    address = shelf.address(path)
    if address is None:
        return tag("p", f"{path.name}: there is no such media file.")
    if address.endswith(IMAGE):
        return alone("img", src=address, alt=path.name, loading="lazy")
    kind = "audio" if address.endswith(AUDIO) else "video"
    return tag(kind, src=address, controls="controls", preload="metadata", aria_label=path.name)
