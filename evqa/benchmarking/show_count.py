"""The tables of `benchmark count`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from evqa.benchmarking.measure import number
from evqa.benchmarking.reports import CountedPart, CountReport

PHASES = {"forward": "forward", "backward": "backward", "again": "recomputed", "optimizer": "optimizer"}

# Rows that a batch which is scored does not have.
OF_TRAINING = ("TFLOP a sample, recomputed", "batches an optimizer step", "gradients", "AdamW's moments")


def print_count(console: Console, report: CountReport) -> None:
    """Print work by part, memory, and the prediction."""
    console.print(_parts(report))
    console.print(_prediction(report))
    console.print(_memory(report))
    for note in report.notes:
        console.print(f"Note: {note}.")


def _parts(report: CountReport) -> Table:
    what = "One batch as it is scored" if report.scores else "One training step"
    table = Table(title=f"{what}, {report.batch_size} samples: counted without a GPU, predicted, not measured")
    for column in ("pass", "part", "GFLOP", "GB, matrix", "GB, other", "kernels", f"ms on {report.card}"):
        table.add_column(
            column, justify="left" if column in ("pass", "part") else "right", no_wrap=column == "pass", overflow="fold"
        )
    for part in report.parts:
        table.add_row(PHASES[part.phase], part.part.replace("_", " "), *_cells([part]))
    table.add_section()
    table.add_row("all", "", *_cells(report.parts))
    return table


def _cells(parts: Sequence[CountedPart]) -> tuple[str, ...]:
    return (
        _short(sum(part.flops for part in parts) / 1e9),
        _short(sum(part.matrix_bytes for part in parts) / 1e9),
        _short(sum(part.other_bytes for part in parts) / 1e9),
        f"{sum(part.kernels for part in parts):,}",
        _short(1000 * sum(part.seconds for part in parts)),
    )


def _short(value: float) -> str:
    return "<0.01" if 0 < value < 0.01 else number(value)


def _prediction(report: CountReport) -> Table:
    table = Table(title=f"{report.card}, predicted, not measured", show_header=False)
    again = report.all_flops_per_sample - report.flops_per_sample
    rows = {
        "assumed of the card": (
            f"{report.flops_share:.0%} of {number(report.peak_flops / 1e12)} TFLOP/s in matrix kernels "
            f"({report.precision}), {report.bandwidth_share:.0%} of its bandwidth; no gaps, no wait for data"
        ),
        "positions a sample, padding included": number(report.num_positions / report.batch_size, 4),
        "TFLOP a sample, of the model": number(report.flops_per_sample / 1e12),
        "TFLOP a sample, recomputed": number(again / 1e12),
        "batches an optimizer step": str(report.accumulate),
        "samples a second": number(report.samples_per_second),
        "MFU (the model's arithmetic)": f"{report.mfu:.1%}",
        "HFU (all arithmetic)": f"{report.hfu:.1%}",
        "calls that wait for the device": _waits(report),
    }
    for name, value in rows.items():
        if not (report.scores and name in OF_TRAINING):
            table.add_row(name, value)
    return table


def _waits(report: CountReport) -> str:
    by_name = ", ".join(f"{name} {count}" for name, count in report.waits.items())
    return f"{sum(report.waits.values())}{f' ({by_name})' if by_name else ''}"


def _memory(report: CountReport) -> Table:
    memory = report.memory
    table = Table(title="Peak memory, GB", show_header=False)
    rows = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "AdamW's moments": memory.optimizer,
        "activations and inputs": memory.activations,
        f"peak without fragments and workspaces, of {report.card_memory / 1e9:g}": memory.peak,
    }
    for name, num_bytes in rows.items():
        if not (report.scores and name in OF_TRAINING):
            table.add_row(name, number(num_bytes / 1e9))
    return table
