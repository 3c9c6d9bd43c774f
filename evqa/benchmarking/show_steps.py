"""Tables and the plot of what steps cost."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from evqa.benchmarking.card_state import NOT_KNOWN
from evqa.benchmarking.measure import number
from evqa.benchmarking.part_times import BETWEEN
from evqa.benchmarking.reports import MotionCost
from evqa.benchmarking.step_report import PartTime, StepReport, StepRow


def print_steps(console: Console, report: StepReport) -> None:
    """Print what a step costs, by batch size and by part."""
    console.print(_machine(report))
    console.print(_rows(report))
    for row in report.rows:
        if row.times.parts:
            console.print(_parts(row))
    for note in report.notes:
        console.print(f"Note: {note}.")
    if report.motion is not None:
        console.print(_motion(report.motion))


def _machine(report: StepReport) -> str:
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    state = "; ".join(f"{name} {spread.text()}" for name, spread in report.card.items())
    return f"{machine['device']}; clocks and power {state or NOT_KNOWN}; {machine['cpu']}, {versions}"


def _rows(report: StepReport) -> Table:
    """Print one column a batch size."""
    workers = f"{report.workers} loading workers" if report.workers != 1 else "1 loading worker"
    table = Table(title=f"{report.what}: {report.rows[0].times.num_steps} steps, {workers}", title_style="")
    table.add_column("batch size")
    for row in report.rows:
        table.add_column(str(row.times.batch_size), justify="right")
    lines = [cells(row) for row in report.rows]
    for name in lines[0]:
        table.add_row(name, *(line[name] for line in lines))
    return table


def cells(row: StepRow) -> dict[str, str]:
    """Write the figures of a row, by what they are."""
    times, counted = row.times, row.arithmetic
    return {
        "ms a step": times.step_ms.text(),
        "samples a second": number(times.samples_per_second),
        "tokens a second": number(times.tokens_per_second),
        "waiting for data": f"{times.wait_share:.1%}",
        "kernels run": _share(times.busy_share),
        "peak memory, GB": number(times.peak_bytes / 1e9),
        "reserved, GB": NOT_KNOWN if times.reserved_bytes is None else number(times.reserved_bytes / 1e9),
        "GFLOP a sample, model": NOT_KNOWN if counted is None else number(counted.model / 1e9),
        "GFLOP a sample, recomputed": NOT_KNOWN if counted is None else number((counted.done - counted.model) / 1e9),
        "MFU (the model's arithmetic)": _share(row.mfu),
        "HFU (all arithmetic)": _share(row.hfu),
    }


def _share(share: float | None) -> str:
    return NOT_KNOWN if share is None else f"{share:.1%}"


def _parts(row: StepRow) -> Table:
    table = Table(title=f"Where the time of a step of {row.times.batch_size} goes, ms", title_style="")
    for column in ("part", "forward", "backward", "share"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for line in part_rows(row.times.parts):
        table.add_row(*line)
    return table


def part_rows(parts: list[PartTime]) -> list[tuple[str, str, str, str]]:
    """Write a line a part: its name, forward, backward, share of the whole; what is neither stands under forward."""
    whole = sum(part.ms for part in parts) or 1.0
    names = dict.fromkeys(part.part for part in parts)
    lines = []
    for name in names:
        ms = {part.phase: part.ms for part in parts if part.part == name}
        first = ms.get("forward", ms.get(""))
        texts = [number(value) if value is not None else "-" for value in (first, ms.get("backward"))]
        lines.append((name.replace("_", " "), *texts, f"{sum(ms.values()) / whole:.1%}"))
    return lines  # type: ignore[return-value]


def _motion(cost: MotionCost) -> Table:
    table = Table(title=f"Motion features of a clip: its first {cost.num_frames} of {cost.clip_frames} frames")
    for column in ("way", "ms", "GFLOP"):
        table.add_column(column, justify="left" if column == "way" else "right")
    rows = {"fast pathway alone": cost.ours, "both pathways, as the original": cost.original}
    for name, work in rows.items():
        table.add_row(name, work.ms.text(), number(work.flops / 1e9))
    table.add_row("original / ours", cost.ratio.text(), number(cost.flops_ratio))
    return table


def plot_steps(plt: Any, report: StepReport) -> Any:
    """Draw a bar a batch size: milliseconds a sample by part, or computing and waiting."""
    figure, axes = plt.subplots(figsize=(8, 1.5 + 0.5 * len(report.rows)), layout="constrained")
    names = [f"{report.what}, batch {row.times.batch_size}" for row in report.rows]
    starts = [0.0] * len(names)
    labels = dict.fromkeys(_label(part) for row in report.rows for part in row.times.parts)
    colours = iter(plt.get_cmap("tab20").colors)
    for label in labels:
        widths = [
            sum(p.ms for p in row.times.parts if _label(p) == label) / row.times.batch_size for row in report.rows
        ]
        axes.barh(names, widths, left=starts, label=label, color="lightgray" if label == BETWEEN else next(colours))
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel(f"ms a sample on {report.machine['device']}")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _label(part: PartTime) -> str:
    return f"{part.part.replace('_', ' ')}, {part.phase}" if part.phase else part.part
