"""Kept runs on the terminal, and as lines for other programs."""

from __future__ import annotations

import csv
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.cells import cell_len
from rich.text import Text

from evqa.errors import EvqaError
from evqa.files.names import listed, shown
from evqa.files.stored import read_object
from evqa.files.terminal import terminal
from evqa.runs.kept import KeptRun, count_bytes, differing, metric_value, read_metrics, without_labels

Experiments = Sequence[tuple[str, Sequence[KeptRun]]]
COLUMNS = ("run", "setting", "status", "score", "n", "bytes", "changed")


def print_list(experiments: Experiments) -> None:
    """Print the runs of each experiment, two lines a run."""
    console = terminal(soft_wrap=True)
    width = terminal().width
    for folder, runs in experiments:
        rows = [("status", "score (n)", "size", "date"), *map(_cells, runs)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        names = ["run", *(shown(run.path.name) for run in runs)]
        room = min(max(map(cell_len, names)), width - sum(widths) - 2 * len(widths))
        console.print(Text(f"{shown(folder)}: {_counted(runs)}", "bold"))
        for name, cells, setting in zip(names, rows, ["", *differing(runs)], strict=True):
            if cell_len(name) > room:  # a line of its own
                console.print(name)
                name = ""
            padded = name + " " * (room - cell_len(name)), cells[0].ljust(widths[0])
            numbers = (cell.rjust(wide) for cell, wide in zip(cells[1:], widths[1:], strict=True))
            console.print("  ".join((*padded, *numbers)))
            for line in textwrap.wrap(shown(setting), width, initial_indent="  ", subsequent_indent="  "):
                console.print(Text(line, "dim"))
        console.print()


def _cells(run: KeptRun) -> tuple[str, str, str, str]:
    return run.status, _reached(run), size(run.num_bytes), date(run.changed)[:10]


def write_lines(experiments: Experiments, file: TextIO) -> None:
    """Write one line a run behind a line of names, separated by tabs."""
    rows = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
    rows.writerow(COLUMNS)
    for _, runs in experiments:
        for run, setting in zip(runs, differing(runs), strict=True):
            score = "" if run.score is None or run.status != "finished" else f"{run.score:.6g}"
            count = "" if run.num_scored is None else run.num_scored
            about = (run.status, score, count, run.num_bytes, date(run.changed))
            rows.writerow([shown(run.path), shown(setting), *about])


def print_run(run: KeptRun) -> None:
    """Print what a run was, what it reached, what it takes, and what can be done with it."""
    console = terminal(soft_wrap=True)
    console.print(Text(f"{shown(run.path)}: {_status(run)}, {date(run.changed)}, {size(run.num_bytes)}", "bold"))
    console.print(f"Setting: {' '.join(run.setting) or 'the defaults'}")
    console.print(f"All settings: {run.path / 'config.yaml'}")
    for path in sorted((run.path / "predictions").glob("*.json")):
        record = read_metrics(run.path, path.stem)
        if said := without_labels(record):
            console.print(f"{path.stem}: {said}")
            continue
        values = {
            name: value for name in record.get("metrics", {}) if (value := metric_value(record, name)) is not None
        }
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in values.items()) or "no metric has a value"
        console.print(f"{path.stem}: n={record.get('n')}, {record.get('num_failed')} failed; {metrics}")
    for name in ("checkpoints", "predictions", "wandb"):
        if (run.path / name).is_dir():
            files = listed(sorted(path.name for path in (run.path / name).iterdir()))
            console.print(f"{name}: {size(count_bytes(run.path / name))} ({files or 'empty'})")
    console.print(f"Made with: {_software(run.path)}")
    if run.status == "finished":
        console.print(f"Next: evqa predict VIDEO --scorer {run.path}")
    elif run.status == "stopped":
        console.print("Next: the command that began it continues it.")


def score_of(run: KeptRun) -> str:
    """Return the score with its n: `0.8461 (512)`."""
    if run.score is None:
        return "-"
    return f"{'loss ' if run.is_loss else ''}{run.score:.4f} ({'?' if run.num_scored is None else run.num_scored})"


def size(num_bytes: int) -> str:
    """Return bytes as a person reads them."""
    value = float(num_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def date(seconds: float) -> str:
    """Return local day and minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def is_for_person() -> bool:
    """Whether a person reads the standard output."""
    return sys.stdout.isatty()


def _reached(run: KeptRun) -> str:
    """Return the score of a finished run, and how far another one has come."""
    if run.status == "finished":
        return score_of(run)
    return "no step yet" if run.step is None else f"step {run.step}"


def _status(run: KeptRun) -> str:
    return run.status if run.status == "finished" else f"{run.status}, {_reached(run)}"


def _counted(runs: Sequence[KeptRun]) -> str:
    total = size(sum(run.num_bytes for run in runs))
    unfinished = sum(run.status != "finished" for run in runs)
    more = f", {unfinished} of them unfinished" if unfinished else ""
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''}, {total}{more}"


def _software(folder: Path) -> str:
    try:
        about = read_object(folder / "environment.json")
    except EvqaError:
        return "not recorded"
    packages = about.get("packages")
    versions = (
        [f"{name} {packages[name]}" for name in ("evqa", "torch") if name in packages]
        if isinstance(packages, dict)
        else []
    )
    commit = [f"commit {str(about['commit'])[:12]}"] if about.get("commit") else []
    return ", ".join([*versions[:1], *commit, *versions[1:], f"Python {about.get('python')}", str(about.get("cpu"))])
