"""What `benchmark gpu` found as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evqa.benchmarking.gpu.results import Result, Results

SPEEDS = {"train": "training", "qlora": "training", "score": "scoring", "baseline": "whole loop"}


def write_plot(results: Results, path: Path) -> str:
    """Draw speeds, with what was predicted, and where the time of a step goes; returns what was done, in words."""
    try:
        import matplotlib as mpl
    except ImportError:
        return f"no {path.name}: matplotlib is not installed (run it again where it is; nothing is measured twice)"
    rows = [row for row in results.rows if row.part in SPEEDS and row.figures]
    if not rows:
        return f"no {path.name}: nothing was measured that it shows"
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    stacked = next((row for row in rows if row.figures.get("parts")), None)
    figure, axes = plt.subplots(1, 2, figsize=(13, 2 + 0.32 * len(rows)), layout="constrained")
    _draw_speeds(axes[0], rows, results)
    if stacked is not None:
        _draw_parts(axes[1], stacked)
    figure.suptitle(f"{results.machine.get('device')}, {results.machine.get('size')} size, random weights")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return str(path)


def _draw_speeds(axes: Any, rows: list[Result], results: Results) -> None:
    speeds = [row.figures["samples_per_second"] for row in rows]
    labels = [f"{row.part}: {row.name}   {speed:.3g}" for row, speed in zip(rows, speeds, strict=True)]
    colours = {"training": "tab:blue", "scoring": "tab:green", "whole loop": "tab:orange"}
    axes.barh(labels, speeds, color=[colours[SPEEDS[row.part]] for row in rows])
    counted = {row.name: row.figures["samples_per_second"] for row in results.of("count") if row.figures}
    marks = [
        (counted[row.name], place)
        for place, row in enumerate(rows)
        if row.part in ("train", "qlora") and row.name in counted
    ]
    if marks and results.machine.get("size") == "published":
        axes.scatter(*zip(*marks, strict=True), marker="|", s=160, color="black", label="predicted", zorder=3)
        axes.legend(fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(x=0.12, y=0.02)
    axes.set_xlabel("samples a second")


def _draw_parts(axes: Any, row: Result) -> None:
    parts = row.figures["parts"]
    labels = [f"{part['part'].replace('_', ' ')}{', ' + part['phase'] if part['phase'] else ''}" for part in parts]
    bars = axes.barh(labels, [part["ms"] for part in parts], color="tab:gray")
    axes.bar_label(bars, [f"{part['ms']:.3g}" for part in parts], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(x=0.12)
    axes.set_xlabel(f"ms a step: {row.name}")
