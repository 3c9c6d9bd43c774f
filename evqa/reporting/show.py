"""A report on the terminal: the answer, the table of settings, where the rest is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from evqa.files.terminal import terminal
from evqa.reporting.canvas import wrapped
from evqa.reporting.pages import MAX_ROWS, settings_caption, settings_table
from evqa.reporting.sentences import verdicts
from evqa.reporting.study import Study

HEADER_WIDTH = 10  # characters a line
NARROW = 8  # the same of headers and numbers where settings need the room


def show(
    study: Study, *, folder: Path, said: Sequence[str] = (), formats: Sequence[str] = (), console: Console | None = None
) -> None:
    """Print the table, the sentences, further ones (`said`) and what is missing."""
    console = console or terminal(soft_wrap=False)
    first = replace(study, settings=study.settings[:MAX_ROWS])
    console.print(settings_caption(study), _table(first, console.width), sep="\n\n")
    if (left := len(study.settings) - MAX_ROWS) > 0:
        more = f"{left} more settings that are" if left > 1 else "1 more setting that is"
        console.print(f"\n{more} no better: settings.csv and report.html")
    console.print()
    for setting in study.settings:
        if reason := setting.metrics[study.metric].reason:
            console.print(f"- {setting.name}: no value or no interval: {reason}.")
    for sentence in (*verdicts(study), *said):
        console.print(f"- {sentence}")
    for run in study.unfinished:
        console.print(f"  missing: {run.name}: {run.problem or ''}")
    for note in study.notes:
        console.print(f"Note: {note}")
    console.print(
        f"Wrote {folder / 'report.html'}, report.md, report.json, settings.csv, settings.tex and pictures"
        + (f", those for a paper as {', '.join(formats)}" if formats else ""),
        soft_wrap=True,
    )


def _table(study: Study, width: int) -> Table:
    """The table of settings: a column an axis where all of them fit, else one for the settings, whose names wrap."""
    found = settings_table(study)
    end = len(found.columns) - ("why not" in found.columns)
    columns = {name: [row[place] for row in found.rows] for place, name in enumerate(found.columns[:end])}
    keys = found.columns[: found.left]
    headers = {name: name if name in keys else textwrap.fill(name, HEADER_WIDTH) for name in columns}
    is_wide = sum(_width(headers[name], *cells) + 2 for name, cells in columns.items()) > width + 2
    if is_wide:
        columns = {name: [textwrap.fill(cell, NARROW) for cell in cells] for name, cells in columns.items()}
        columns = {name: cells for name, cells in columns.items() if name not in keys}
        headers = {name: textwrap.fill(name, NARROW) for name in columns}
        room = width - sum(_width(headers[name], *cells) + 1 for name, cells in columns.items())
        names = [wrapped(one.name, width=max(NARROW, room)) for one in study.settings]
        columns, headers, keys = {"setting": names, **columns}, {"setting": "setting", **headers}, ("setting",)
    # Blank lines tell apart settings that take several lines.
    table = Table(
        box=SIMPLE, show_edge=False, padding=(0, int(not is_wide), 0, 0), pad_edge=False, leading=int(is_wide)
    )
    for name, header in headers.items():
        is_key = name in keys
        table.add_column(header, justify="left" if is_key else "right", no_wrap=not is_key, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _width(*texts: str) -> int:
    """Columns of the terminal that the longest line takes."""
    return max(cell_len(line) for text in texts for line in text.split("\n"))
