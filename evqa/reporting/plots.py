"""Pictures of settings and runs: scores with intervals, paired differences, learning curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.metrics.names import PRINTED
from evqa.reporting.canvas import COLOURS, INK, MARKERS, PAGE, STYLE, legend, save, seeds, wrapped
from evqa.reporting.item_plots import plot_residuals, plot_scatter, plot_slices
from evqa.reporting.study import Comparison, Setting, Study

MAX_SETTINGS = len(COLOURS)

CAPTIONS = {
    "settings": (
        "Score of each setting",
        "Dots: mean over seeds, with the 95 % interval over items. Rings: single seeds.",
    ),
    "differences": (
        "Paired differences",
        "Thick: 95 % interval over items. Thin: with the noise of training seeds, where several were run. Dashed: the "
        "smallest true difference that this comparison finds with 80 % probability. Filled and blue: p after Holm's "
        "correction below 0.05.",
    ),
    "scatter": (
        "Scores against labels",
        "Each point is an item, its score the mean over seeds. Large marks: means of equal parts of the items by "
        "label, with 95 % intervals. Grey: score = label.",
    ),
    "residuals": (
        "Errors against scores",
        "Score less label. Large marks: means of equal parts of the items by score, with 95 % intervals; where they "
        "lie away from 0, the scores are off in level.",
    ),
    "learning_curves": ("Learning curves", "One line a run; dotted: runs without predictions."),
    "slices": (
        "Parts of the items",
        "Means over seeds; intervals: 95 % over items. Within a label decile labels hardly differ, so the mean error "
        "stands in place of the rank correlation.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture: name of its PNG file, its SVG, what it shows, how to read it."""

    file: str
    svg: str
    description: str
    caption: str


def draw_all(study: Study, folder: Path, *, only: Sequence[str] = tuple(CAPTIONS)) -> dict[str, Drawn]:
    """Draw what the study has data for, by name. Writes PNG files into the folder."""
    has_history = any(run.history for one in study.settings for run in one.runs) or bool(study.unfinished)
    wanted: list[tuple[str, bool, Callable[[Study, Sequence[Setting]], Figure]]] = [
        ("settings", True, plot_settings),
        ("differences", bool(study.comparisons), lambda study, _: plot_differences(study)),
        ("scatter", bool(study.ids), plot_scatter),
        ("residuals", bool(study.ids), plot_residuals),
        ("learning_curves", has_history, plot_curves),
        ("slices", bool(study.ids), plot_slices),
    ]
    shown, drawn = shown_settings(study), {}
    for name, is_wanted, plot in wanted:
        if is_wanted and name in only:
            with mpl.rc_context(STYLE):
                svg = save(plot(study, shown), folder / f"{name}.png")
            description, caption = CAPTIONS[name]
            drawn[name] = Drawn(file=f"{name}.png", svg=svg, description=description, caption=caption)
    return drawn


def shown_settings(study: Study) -> list[Setting]:
    """As many settings as there are colours: the best ones, and the baseline's best among them."""
    base = [one for one in study.settings if study.baseline and study.baseline.items() <= one.values.items()][:1]
    chosen = {one.name for one in [*base, *(one for one in study.settings if one not in base)][:MAX_SETTINGS]}
    return [one for one in study.settings if one.name in chosen]


def plot_settings(study: Study, shown: Sequence[Setting]) -> Figure:
    """Mean, interval and single seeds of every setting."""
    figure = Figure(figsize=(7.6, 0.9 + 0.42 * len(study.settings)))
    panel = figure.subplots()
    colours = {one.name: COLOURS[place] for place, one in enumerate(shown)}
    for row, setting in enumerate(study.settings):
        pooled, colour = setting.metrics[study.metric], colours.get(setting.name, INK)
        if math.isfinite(pooled.low):
            panel.plot([pooled.low, pooled.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
        panel.plot(pooled.mean, row, "o", color=colour, markersize=7)
        if len(pooled.of_seeds) > 1:
            panel.plot(pooled.of_seeds, [row + 0.25] * len(pooled.of_seeds), "o", color=colour, fillstyle="none", ms=4)
    names = [f"{wrapped(one.name, width=60)}  ({seeds(one)})" for one in study.settings]
    count = f", n = {study.size}" if study.ids else ""
    _rows(panel, names, label=f"{PRINTED[study.metric]} on {study.split}{count}")
    return figure


def plot_differences(study: Study) -> Figure:
    """Every comparison with its intervals and the smallest detectable difference."""
    figure = Figure(figsize=(7.6, 0.9 + 0.42 * len(study.comparisons)))
    panel = figure.subplots()
    for row, comparison in enumerate(study.comparisons):
        _difference(panel, row, comparison)
    panel.axvline(0, color=INK, linewidth=1)
    names = [
        wrapped(f"{one.first}  −  {one.second}" + (f"  ({one.shared})" if one.shared else ""), width=60)
        for one in study.comparisons
    ]
    _rows(panel, names, label=f"difference of {PRINTED[study.metric]}, same n = {study.size}")
    return figure


def _difference(panel: Axes, row: int, comparison: Comparison) -> None:
    difference, items = comparison.difference, comparison.items_only
    if difference.reason:
        panel.text(0, row, f"  {difference.reason}", va="center")
        return
    is_found = difference.p < 0.05
    colour = COLOURS[0] if is_found else INK
    panel.plot([difference.low, difference.high], [row, row], color=colour, linewidth=1)
    panel.plot([items.low, items.high], [row, row], color=colour, linewidth=3, solid_capstyle="butt")
    face = colour if is_found else PAGE
    panel.plot(difference.value, row, "o", color=colour, markersize=7, markerfacecolor=face)
    for side in (-1, 1):
        panel.plot([side * difference.detectable] * 2, [row - 0.3, row + 0.3], color=INK, linestyle="--", linewidth=1)


def _rows(panel: Axes, names: Sequence[str], *, label: str) -> None:
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlabel(label)
    panel.grid(visible=False, axis="y")


def plot_curves(study: Study, shown: Sequence[Setting]) -> Figure:
    """Training loss and validation metric over optimizer steps, one line a run."""
    figure = Figure(figsize=(9.0, 3.5))
    panels = figure.subplots(1, 2)
    names = {"train/loss": "training loss", f"val/{study.metric}": f"validation {PRINTED[study.metric]}"}
    for panel, (key, name) in zip(panels, names.items(), strict=True):
        for place, setting in enumerate(shown):
            style = {"color": COLOURS[place], "marker": MARKERS[place]}
            for number, run in enumerate(setting.runs):
                _curve(panel, run.history, key, label="" if number else setting.words, **style)
        for number, run in enumerate(study.unfinished):
            _curve(panel, run.history, key, color=INK, linestyle=":", label="" if number else "no predictions")
        panel.set_xlabel("optimizer step")
        panel.set_ylabel(name)
    legend(figure, panels)
    return figure


def _curve(panel: Axes, history: Sequence[Mapping[str, Any]], key: str, **style: Any) -> None:
    points = [(row["step"], row[key]) for row in history if _is_number(row.get(key)) and _is_number(row.get("step"))]
    if points:
        steps, values = zip(*points, strict=True)
        panel.plot(steps, values, linewidth=1.3, alpha=0.85, markersize=3.5 if len(points) <= 25 else 0, **style)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
