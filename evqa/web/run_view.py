"""The list of runs, and one run, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evqa.config.metric_names import PRINTED
from evqa.media.suffixes import AUDIO, IMAGE
from evqa.reporting.item_media import shortened
from evqa.reporting.runs import Run
from evqa.runs.kept import differing, kept_run, metric_value, read_metrics
from evqa.runs.listing import date, score_of, size
from evqa.web.fragments import Markup, alone, table, tag
from evqa.web.run_curves import curves
from evqa.web.run_folders import RunFolders, RunRow, WorstItem, experiment, experiments, interval, worst_items
from evqa.web.run_media import MediaShelf

COLUMNS = ("run", "status", "score (n)", "95 % interval", "size", "date", "setting", "notes")


def list_view(folders: RunFolders, rows: Sequence[RunRow]) -> Markup:
    """Show all runs, a table for each experiment."""
    if not rows:
        return tag("p", f"There are no runs in {folders.root}.")
    parts = []
    for name in experiments([row.name for row in rows]):
        members = [row for row in rows if experiment(row.name) == name]
        known = [row.kept for row in members if row.kept]
        settings = dict(zip((run.path for run in known), differing(known), strict=True))
        cells = [_cells(row, settings) for row in members]
        parts.append(table(COLUMNS, cells, caption=name or folders.root.name, sorts=True))
    return tag("div", *parts)


def _cells(row: RunRow, settings: Mapping[Path, str]) -> tuple[str, ...]:
    name = row.name.rpartition("/")[2]
    if row.kept is None:
        return name, "damaged", "", "", "", "", "", row.problem
    run = row.kept
    ends = "" if row.ends is None else f"{row.ends[0]:.4f} to {row.ends[1]:.4f}"
    about = (score_of(run), ends) if run.status == "finished" else ("", "")
    return name, run.status, *about, size(run.num_bytes), date(run.changed), settings[run.path], row.problem


def run_json(row: RunRow) -> dict[str, Any]:
    """A row of the list as plain values."""
    run = row.kept
    low, high = row.ends or (None, None)
    known = {} if run is None else {"score": run.score, "low": low, "high": high, "n": run.num_scored}
    status = "damaged" if run is None else run.status
    return {"run": row.name, "status": status, **known, "problem": row.problem or None}


def run_view(folders: RunFolders, name: str, run: Run, shelf: MediaShelf) -> Markup:
    """Show what a run was, what it reached, how it learned, and its worst items."""
    kept = kept_run(run.path)
    setting = " ".join(kept.setting) or "the defaults"
    splits = sorted(path.stem for path in (run.path / "predictions").glob("*.json"))
    return tag(
        "div",
        tag("h3", name),
        tag("p", f"{kept.status}, {date(kept.changed)}, {size(kept.num_bytes)}; setting: {setting}"),
        *([tag("p", f"Note: {folders.said(run.problem)}.")] if run.problem else []),
        *(_metrics(split, read_metrics(run.path, split)) for split in splits),
        curves(run.history),
        *_worst(folders, run, shelf),
    )


def _metrics(split: str, record: Mapping[str, Any]) -> Markup:
    rows = []
    for name in record.get("metrics", {}):
        value, ends = metric_value(record, name), interval(record, name)
        if value is not None:
            low, high = ("-", "-") if ends is None else (f"{end:.4f}" for end in ends)
            rows.append((PRINTED.get(name, name), f"{value:.4f}", low, high))
    caption = f"{split}: n = {record.get('n')}, {record.get('num_failed')} failed"
    return table(("metric", "value", "low", "high"), rows, caption=caption)


def _worst(folders: RunFolders, run: Run, shelf: MediaShelf) -> list[Markup]:
    items, why = worst_items(run)
    if not items:
        return []
    heading = tag("h4", f"The {len(items)} largest errors of val (score less label)")
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
