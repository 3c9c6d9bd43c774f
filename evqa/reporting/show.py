"""A report on the terminal: the answer, the table of settings, where the rest is."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
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
KEY = 14  # of an axis's name, where there is no room for it in a line
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
    if _num_cells(headers, columns, gap=2) <= width + 2:
        return _made(headers, columns, keys, gap=2)
    headers = {name: wrapped(name, width=KEY) if name in keys else textwrap.fill(name, NARROW) for name in columns}
    numbers = {name: [textwrap.fill(cell, NARROW) for cell in columns[name]] for name in columns if name not in keys}
    for cells, leading in ((columns, 0), (columns | numbers, 1)):  # blank lines tell apart what takes several lines
        if _num_cells(headers, cells, gap=1) <= width + 1:
            return _made(headers, cells, keys, gap=1, leading=leading)
    headers = {name: headers[name] for name in numbers}
    room = width - _num_cells(headers, numbers, gap=1)
    names = [wrapped(one.name, width=max(NARROW, room)) for one in study.settings]
    return _made({"setting": "setting", **headers}, {"setting": names, **numbers}, ("setting",), gap=1, leading=1)


def _made(
    headers: Mapping[str, str], columns: Mapping[str, list[str]], keys: Sequence[str], *, gap: int, leading: int = 0
) -> Table:
    """A table. gap: spaces between its columns. leading: blank lines between its rows."""
    table = Table(box=SIMPLE, show_edge=False, padding=(0, gap - 1, 0, 0), pad_edge=False, leading=leading)
    for name, header in headers.items():
        is_key = name in keys
        table.add_column(header, justify="left" if is_key else "right", no_wrap=not is_key, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _num_cells(headers: Mapping[str, str], columns: Mapping[str, list[str]], *, gap: int) -> int:
    """Columns of the terminal that a table takes, with a gap behind each of its columns."""
    return sum(_width(headers[name], *cells) + gap for name, cells in columns.items())


def _width(*texts: str) -> int:
    """Columns of the terminal that the longest line takes."""
    return max(cell_len(line) for text in texts for line in text.split("\n"))
