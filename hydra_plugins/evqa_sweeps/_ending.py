"""What a sweep prints at its end: a table of its runs, and the next command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NUM_SHOWN = 30


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """A row of the table. overrides: what differs between runs. value: what the run returned."""

    overrides: Sequence[str]
    value: float | None
    status: str
    folder: str | None

    @property
    def settings(self) -> dict[str, str]:
        """Values by key."""
        parts = [line.lstrip("+").partition("=") for line in self.overrides]
        return {key: value for key, _, value in parts}


def print_runs(runs: Sequence[EndedRun], *, monitor: str, record: Path) -> None:
    """Print a table with one row a run. monitor: the name of their values. record: the file that holds all of them."""
    from rich.table import Table

    from evqa.files.terminal import terminal

    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    homes = homes_of(runs)
    title = f"Runs in {homes[0]}" if len(homes) == 1 else "Runs"
    table = Table(*keys, monitor, "status", "run", title=title, title_justify="left")
    for run in runs[:NUM_SHOWN]:
        value = "-" if run.value is None else f"{run.value:.4f}"
        name = (Path(run.folder).name if len(homes) == 1 else run.folder) if run.folder else "-"
        table.add_row(*(run.settings.get(key, "") for key in keys), value, run.status, name)
    console = terminal(soft_wrap=False)
    console.print(table)
    if len(runs) > NUM_SHOWN:
        console.print(f"... and {len(runs) - NUM_SHOWN} more in {record}.")


def print_next(*command: str) -> None:
    """Print what to type next."""
    from evqa.files.terminal import terminal

    terminal().print(f"Next: {shlex.join(command)}")


def homes_of(runs: Sequence[EndedRun]) -> list[str]:
    """The folders that the runs lie in."""
    return sorted({str(Path(run.folder).parent) for run in runs if run.folder})
