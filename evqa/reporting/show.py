"""A report on the terminal: the answer, the table of settings, where the rest is."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evqa.files.terminal import terminal
from evqa.reporting.document import TableBlock
from evqa.reporting.pages import settings_table
from evqa.reporting.sentences import verdicts
from evqa.reporting.study import Study

HEADER_WIDTH = 10  # characters a line


def show(study: Study, *, folder: Path, console: Console | None = None) -> None:
    """Print the table, the sentences and what is missing."""
    console = console or terminal(soft_wrap=False)
    settings = settings_table(study)
    console.print(settings.caption, _table(settings), sep="\n\n")
    console.print()
    for sentence in verdicts(study):
        console.print(f"- {sentence}")
    for run in study.unfinished:
        console.print(f"  missing: {run.name}: {run.problem or ''}")
    for note in study.notes:
        console.print(f"Note: {note}")
    console.print(f"Wrote {folder / 'report.html'}, report.md, report.json and pictures", soft_wrap=True)


def _table(rows: TableBlock) -> Table:
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)  # fits into 80 columns
    for place, name in enumerate(rows.columns):
        if place < rows.left:
            table.add_column(name)
        else:
            table.add_column(textwrap.fill(name, HEADER_WIDTH), justify="right", no_wrap=True)
    for row in rows.rows:
        table.add_row(*row)
    return table
