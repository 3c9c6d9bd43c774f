"""Pictures of settings and runs: scores with intervals, paired differences, learning curves."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.config.metric_names import PRINTED
from evqa.files.progress import BEGINS_ANEW, counted
from evqa.reporting.canvas import COLUMN, PAGE, SCREEN, Rows, Sheet, legend, rows, save, save_for_print, seeds, wrapped
from evqa.reporting.colours import INK, MARKERS, styles
from evqa.reporting.item_plots import plot_residuals, plot_scatter, plot_slices
from evqa.reporting.numeric_axes import NumericAxis, caption_of, numeric_axes, plot_over
from evqa.reporting.slices import slices
from evqa.reporting.study import Comparison, Setting, Study

MAX_SETTINGS = len(MARKERS)

OVER = "over_"  # begins the names of pictures over numeric axes
SOME_SETTINGS = ("scatter", "residuals", "learning_curves", "slices")  # pictures that show as many as there are markers
CAPTIONS = {
    "settings": (
        "Score of each setting",
        "Dots: mean over seeds, with the 95 % interval over items. Rings: single seeds.",
    ),
    "differences": (
        "Paired differences",
        "Thick: 95 % interval over items. Thin: with the noise of training seeds, where several were run. Dashed: the "
        "smallest true difference that this comparison finds with 80 % probability. Filled: p after Holm's correction "
        "below 0.05.",
    ),
    "scatter": (
        "Scores against labels",
        "Each point is an item, its score the mean over seeds. The number above is of these mean scores; with several "
        "seeds it is not the mean over seeds of the table. Large marks: means of equal parts of the items by label, "
        "with 95 % intervals. Grey: score = label.",
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
        "stands in place of the rank correlation. Low labels scored too high and high ones too low are regression to "
        "the mean, which every imperfect score has: compare settings, or a decile with its neighbours.",
    ),
}


Plot = Callable[[Study, Sequence[Setting], Sheet], Figure]
Wanted = tuple[str, Plot, tuple[str, str]]  # name of the files, description and caption


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture: name of its PNG file, its SVG, what it shows, how to read it."""

    file: str
    svg: str
    description: str
    caption: str


def draw_all(
    study: Study, folder: Path, *, only: Sequence[str] = (*CAPTIONS, OVER), formats: Sequence[str] = ()
) -> dict[str, Drawn]:
    """Draw what the study has data for, by name, as PNG files into the folder.

    formats: write each also for a paper's column, as pdf, svg or png; a png then takes the place of the screen's.
    """
    has_history = any(run.history for one in study.settings for run in one.runs) or bool(study.unfinished)
    wanted: list[tuple[str, bool, Plot]] = [
        ("settings", True, plot_settings),
        ("differences", bool(study.comparisons), plot_differences),
        ("scatter", bool(study.ids), plot_scatter),
        ("residuals", bool(study.ids), plot_residuals),
        ("learning_curves", has_history, plot_curves),
        ("slices", bool(slices(study)), plot_slices),
    ]
    chosen = [(name, plot, _captions(study, name)) for name, is_wanted, plot in wanted if is_wanted and name in only]
    chosen += _over_axes(study) if OVER in only else []
    with counted("drawing pictures", len(chosen), stderr=True, then=BEGINS_ANEW) as counting:
        drawn = counting.watch(chosen)
        return {name: _draw(study, plot, folder / name, said, formats=formats) for name, plot, said in drawn}


def _captions(study: Study, name: str) -> tuple[str, str]:
    description, caption = CAPTIONS[name]
    return description, caption + (left_out(study) if name in SOME_SETTINGS else "")


def _over_axes(study: Study) -> list[Wanted]:
    """A picture for each numeric axis."""
    wanted = dict[str, Wanted]()
    for axis in numeric_axes(study):
        name = OVER + re.sub(r"\W", "_", axis.name)
        name += "_" * (name in wanted)
        wanted[name] = (name, partial(_plot_over, axis), (f"Score over {axis.name}", caption_of(study, axis)))
    return list(wanted.values())


def _plot_over(axis: NumericAxis, study: Study, _: Sequence[Setting], sheet: Sheet) -> Figure:
    return plot_over(study, axis, sheet)


def _draw(study: Study, plot: Plot, path: Path, said: tuple[str, str], *, formats: Sequence[str]) -> Drawn:
    shown = shown_settings(study)
    with mpl.rc_context(SCREEN.style):
        svg = save(plot(study, shown, SCREEN), path.with_suffix(".png"))
    if formats:
        with mpl.rc_context(COLUMN.style):
            figure = plot(study, shown, COLUMN)
            for suffix in formats:
                save_for_print(figure, path.with_suffix(f".{suffix}"))
    return Drawn(file=f"{path.name}.png", svg=svg, description=said[0], caption=said[1])


def shown_settings(study: Study) -> list[Setting]:
    """As many settings as there are markers: the best ones, and the baseline's best among them."""
    base = [one for one in study.settings if study.baseline and study.baseline.items() <= one.values.items()][:1]
    chosen = {one.name for one in [*base, *(one for one in study.settings if one not in base)][:MAX_SETTINGS]}
    return [one for one in study.settings if one.name in chosen]


def left_out(study: Study) -> str:
    """A sentence about settings that `shown_settings` leaves out; empty where it shows all."""
    shown, of = len(shown_settings(study)), len(study.settings)
    base = " and the baseline" if study.baseline else ""
    return f" Shown are {shown} of {of} settings: the best{base}." if shown < of else ""


def plot_settings(study: Study, shown: Sequence[Setting], sheet: Sheet) -> Figure:
    """Mean, interval and single seeds of every setting."""
    names = [f"{one.name}  ({seeds(one)})" for one in study.settings]
    count = f", n = {study.size}" if study.ids else ""
    made = rows(names, label=f"{PRINTED[study.metric]} on {study.split}{count}", sheet=sheet)
    style, size = styles(study.settings, shown), sheet.mark
    for row, setting in enumerate(study.settings):
        pooled, colour = setting.metrics[study.metric], style[setting.name].colour
        if math.isfinite(pooled.low):
            ends = [pooled.low, pooled.high]
            made.panel.plot(ends, [row, row], color=colour, linewidth=2.2 * size, solid_capstyle="butt")
        made.panel.plot(pooled.mean, row, "o", color=colour, markersize=7 * size)
        if len(pooled.of_seeds) > 1:
            below = [row + 0.25 * made.of_row] * len(pooled.of_seeds)
            ring: dict[str, Any] = {"fillstyle": "none", "ms": 4 * size, "markeredgewidth": size}
            made.panel.plot(pooled.of_seeds, below, "o", color=colour, **ring)
    return made.figure


def plot_differences(study: Study, _: Sequence[Setting], sheet: Sheet) -> Figure:
    """Every comparison with its intervals and the smallest detectable difference."""
    names = [f"{one.first}  −  {one.second}" + (f"  ({one.shared})" if one.shared else "") for one in study.comparisons]
    label = f"difference of {PRINTED[study.metric]}, same n = {study.size}"
    made = rows(names, label=label, sheet=sheet)
    for row, comparison in enumerate(study.comparisons):
        _difference(made, row, comparison, size=sheet.mark)
    made.panel.axvline(0, color=INK, linewidth=sheet.mark)
    return made.figure


def _difference(made: Rows, row: int, comparison: Comparison, *, size: float) -> None:
    difference, items, panel = comparison.difference, comparison.items_only, made.panel
    if difference.reason:
        panel.text(0, row, f"  {difference.reason}", va="center")
        return
    line: dict[str, Any] = {"color": INK, "linewidth": size}
    panel.plot([difference.low, difference.high], [row, row], **line)
    panel.plot([items.low, items.high], [row, row], color=INK, linewidth=3 * size, solid_capstyle="butt")
    face = INK if difference.p < 0.05 else PAGE
    panel.plot(difference.value, row, "o", color=INK, markersize=7 * size, markerfacecolor=face)
    reach = 0.3 * made.of_row
    for side in (-1, 1):
        panel.plot([side * difference.detectable] * 2, [row - reach, row + reach], linestyle="--", **line)


def plot_curves(study: Study, shown: Sequence[Setting], sheet: Sheet) -> Figure:
    """Training loss and validation metric over optimizer steps, one line a run."""
    figure = Figure(figsize=(sheet.width, 3.0) if sheet.is_narrow else (9.0, 3.5))
    panels = figure.subplots(2, 1, sharex=True) if sheet.is_narrow else figure.subplots(1, 2)
    names = {"train/loss": "training loss", f"val/{study.metric}": f"validation {PRINTED[study.metric]}"}
    style = styles(study.settings, shown)
    for panel, (key, name) in zip(panels, names.items(), strict=True):
        for setting in shown:
            own = style[setting.name]
            look: dict[str, Any] = {
                "color": own.colour,
                "marker": own.marker,
                "linestyle": own.line,
                "size": sheet.mark,
            }
            for number, run in enumerate(setting.runs):
                draw_curve(panel, run.history, key, label="" if number else setting.words, **look)
        for number, run in enumerate(study.unfinished):
            look = {"color": INK, "linestyle": ":", "size": sheet.mark}
            draw_curve(panel, run.history, key, label="" if number else "no predictions", **look)
        panel.set_ylabel(wrapped(name, width=20) if sheet.is_narrow else name)
    for panel in panels[-1:] if sheet.is_narrow else panels:
        panel.set_xlabel("optimizer step")
    legend(figure, panels, sheet)
    return figure


def draw_curve(panel: Axes, history: Sequence[Mapping[str, Any]], key: str, *, size: float, **style: Any) -> None:
    """Draw what a run has logged under a key over its steps; nothing where it has not."""
    points = [(row["step"], row[key]) for row in history if _is_number(row.get(key)) and _is_number(row.get("step"))]
    if points:
        steps, values = zip(*points, strict=True)
        marks = 3.5 * size if len(points) <= 25 else 0
        panel.plot(steps, values, linewidth=1.3 * size, alpha=0.85, markersize=marks, **style)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
