"""Tables and plots of what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evqa.benchmarking.data import PUBLISHED, REFERENCE, STAGED, UNCACHED
from evqa.benchmarking.identity import Identity
from evqa.benchmarking.measure import Spread, number
from evqa.benchmarking.reports import DataReport, ReadingCost
from evqa.benchmarking.show_steps import plot_steps, print_steps
from evqa.benchmarking.step_report import StepReport
from evqa.errors import RunError

STAGES = ("open", "decode", "resize", "audio", "fbank")


def print_report(console: Console, report: DataReport | StepReport) -> None:
    """Print the tables of any report."""
    if isinstance(report, StepReport):
        print_steps(console, report)
    else:
        print_data(console, report)


def plot_report(report: DataReport | StepReport, path: Path) -> None:
    """Draw any report. Raises RunError where the file cannot be written."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    try:
        figure = plot_steps(plt, report) if isinstance(report, StepReport) else _plot_data(plt, report)
        figure.savefig(path, dpi=120)
        plt.close(figure)
    except (OSError, ValueError) as error:  # ValueError: an ending that names no kind of picture
        raise RunError(f"{path}: the plot cannot be written ({error}); name a .png or .svg file") from error


def print_data(console: Console, report: DataReport) -> None:
    """Print all tables of the data path."""
    versions = ", ".join(f"{name} {version}" for name, version in report.machine["versions"].items())
    console.print(
        f"{report.num_clips} clips, {report.rounds} rounds, median (min-max); {report.machine['cpu']}, "
        f"{report.machine['cores']} cores, load {report.machine['load_average']}; {versions}"
    )
    if report.spec != PUBLISHED:
        console.print("The configured reading differs from the published one: the ratios compare unlike work.")
    if not report.ffmpeg:
        console.print("No ffmpeg program was found: PyAV decodes the reference's sound, which favours the reference.")
    console.print(_totals(report))
    console.print(_stages(report))
    if report.scaling:
        console.print(_scaling(report))
    if report.identity is not None:
        print_identity(console, report.identity)


def _totals(report: DataReport) -> Table:
    table = Table(title="Reading one clip, the whole way, and clips a second of one core")
    for column in ("path", "CPU ms", "clips/s", "reference / this", "MB a clip"):
        table.add_column(column, justify="left" if column == "path" else "right")
    for row in report.rows:
        if row.name == STAGED:
            continue
        ratio = row.ratio.text() if row.ratio else "-"
        size = "-" if row.bytes_per_clip is None else number(row.bytes_per_clip / 1e6)
        table.add_row(row.name, row.cpu_ms.text(), _per_second(row.cpu_ms), ratio, size)
    return table


def _stages(report: DataReport) -> Table:
    table = Table(title="CPU ms by stage")
    for column in ("stage", *(title for row in _staged(report) for title in (_staged_name(row), "clips/s"))):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in STAGES:
        spreads = [row.stages.get(stage) for row in _staged(report)]
        cells = [("-", "-") if spread is None else (spread.text(), _per_second(spread)) for spread in spreads]
        table.add_row(stage, *(cell for pair in cells for cell in pair))
    return table


def _per_second(spread: Spread) -> str:
    return number(1000 / spread.median) if spread.median else "-"


def _staged(report: DataReport) -> list[ReadingCost]:
    return [row for row in report.rows if row.stages]


def _staged_name(row: ReadingCost) -> str:
    return UNCACHED if row.name == STAGED else row.name


def _scaling(report: DataReport) -> Table:
    table = Table(title="Clips a second by number of workers, without the time that they waited for a core")
    for column in ("path", "workers", "1", str(report.scaling[0].workers), "speed-up", "speed-up as timed"):
        table.add_column(column, justify="left" if column in ("path", "workers") else "right")
    for row in report.scaling:
        spreads = (row.one, row.many, row.speedup, row.speedup_wall)
        table.add_row(row.name, row.kind, *(spread.text() for spread in spreads))
    return table


def print_identity(console: Console, identity: Identity) -> None:
    """Print whether both ways read the same."""
    same = identity.num_clips - len(identity.other_numbers)
    others = f" (not {', '.join(identity.other_numbers)})" if identity.other_numbers else ""
    console.print(
        f"Frame numbers identical to the reference's: {same} of {identity.num_clips} clips{others}. "
        f"Pixels after resizing, in grey levels: mean difference {identity.pixels.mean:.4f}, largest "
        f"{identity.pixels.largest:.0f}; with exact resize: mean {identity.pixels_exact.mean:.4f}, largest "
        f"{identity.pixels_exact.largest:.0f}. Filter bank (bfloat16): {identity.fbank.equal:.2%} identical, mean "
        f"difference {identity.fbank.mean:.2g}."
    )


def _plot_data(plt: Any, report: DataReport) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    _draw_stages(left, report)
    _draw_totals(right, report)
    cpu, load = report.machine["cpu"], report.machine["load_average"]
    figure.suptitle(f"Reading one clip ({report.num_clips} clips, {report.rounds} rounds; {cpu}, load {load})", size=10)
    return figure


def _draw_stages(axes: Any, report: DataReport) -> None:
    rows = _staged(report)
    start = [0.0] * len(rows)
    for stage in STAGES:
        widths = [row.stages[stage].median if stage in row.stages else 0.0 for row in rows]
        axes.barh([_staged_name(row) for row in rows], widths, left=start, label=stage)
        start = [a + b for a, b in zip(start, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("CPU ms a clip")
    axes.legend(ncols=3, fontsize=8)


def _draw_totals(axes: Any, report: DataReport) -> None:
    rows = [row for row in report.rows if row.name != STAGED]
    medians = [row.cpu_ms.median for row in rows]
    errors = [
        [row.cpu_ms.median - row.cpu_ms.low for row in rows],
        [row.cpu_ms.high - row.cpu_ms.median for row in rows],
    ]
    colours = ["tab:gray" if row.name == REFERENCE else "tab:blue" for row in rows]
    bars = axes.barh([row.name for row in rows], medians, xerr=errors, color=colours)
    ratios = [f"{number(row.ratio.median)}x" if row.ratio else "" for row in rows]
    axes.bar_label(bars, ratios, padding=8)
    axes.set_xscale("log")
    axes.set_xlim(right=max(medians) * 6)
    axes.invert_yaxis()
    axes.set_xlabel("CPU ms a clip (logarithmic), and the reference's time over it")
