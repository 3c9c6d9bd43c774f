"""Pictures of items: scores against labels, errors against scores, parts of the items.

# N items
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.config.metric_names import PRINTED
from evqa.metrics.correlation import METRICS, Vector
from evqa.reporting.canvas import NEUTRAL, Sheet, legend, num_lines, wrapped
from evqa.reporting.colours import INK, SettingStyle, styles
from evqa.reporting.sentences import number
from evqa.reporting.slices import BY_LABEL, Slice, SliceScore, score_slice, slices
from evqa.reporting.study import Setting, Study

NUM_BINS = 8
MIN_PER_BIN = 5
MAX_POINTS = 3000


def plot_scatter(study: Study, shown: Sequence[Setting], sheet: Sheet) -> Figure:
    """Scores against labels, one panel a setting."""
    values = [METRICS[study.metric](one.scores_SN.mean(axis=0), study.labels_N).value for one in shown]
    name = "" if sheet.is_narrow else f"{PRINTED[study.metric]} "
    figure, panels = _panels(shown, [name + number(value) for value in values], sheet)
    ends, style = [study.labels_N.min(), study.labels_N.max()], styles(study.settings, shown)
    for panel, setting in zip(panels, shown, strict=True):
        panel.plot(ends, ends, color=NEUTRAL, linewidth=sheet.mark)
        _points(panel, study.labels_N, setting.scores_SN.mean(axis=0), style[setting.name], size=sheet.mark)
    figure.supxlabel(f"label ({study.label}), n = {study.size}", fontsize="medium")
    figure.supylabel(f"score (scale of {study.label})", fontsize="medium")
    return figure


def plot_residuals(study: Study, shown: Sequence[Setting], sheet: Sheet) -> Figure:
    """Errors against scores, one panel a setting."""
    errors = [one.scores_SN.mean(axis=0) - study.labels_N for one in shown]
    said = [f"RMSE {math.sqrt(np.mean(errors_N**2)):.3f}, mean {errors_N.mean():+.3f}" for errors_N in errors]
    figure, panels = _panels(shown, said, sheet)
    style = styles(study.settings, shown)
    for panel, setting, errors_N in zip(panels, shown, errors, strict=True):
        panel.axhline(0, color=NEUTRAL, linewidth=sheet.mark)
        _points(panel, setting.scores_SN.mean(axis=0), errors_N, style[setting.name], size=sheet.mark)
    figure.supxlabel(f"score (scale of {study.label}), n = {study.size}", fontsize="medium")
    figure.supylabel(f"score − label ({study.label})", fontsize="medium")
    return figure


def plot_slices(study: Study, shown: Sequence[Setting], sheet: Sheet) -> Figure:
    """Rank correlation (mean error for label deciles) on each part, one panel a family."""
    parts, style = slices(study), styles(study.settings, shown)
    families = list(dict.fromkeys(part.family for part in parts))
    figure, panels = _families(parts, families, sheet, num_settings=len(shown))
    for panel, family in zip(panels, families, strict=True):
        rows = [part for part in parts if part.family == family]
        scores = zip(*(score_slice(study, shown, part) for part in rows), strict=True)
        for place, (setting, column) in enumerate(zip(shown, scores, strict=True)):
            offset = (place - (len(shown) - 1) / 2) * 0.6 / len(shown)
            look: dict[str, Any] = {"offset": offset, "size": sheet.mark, "of_labels": rows[0].is_of_labels}
            _slice_column(panel, column, style[setting.name], label=setting.words, **look)
        names = [f"{part.name}, n = {len(part.places_K)}" for part in rows]
        panel.set_yticks(range(len(rows)), [wrapped(name, width=30) for name in names] if sheet.is_narrow else names)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.set_title(family)
        panel.grid(visible=False, axis="y")
        panel.set_xlabel(f"mean of score − label ({study.label})" if rows[0].is_of_labels else "SROCC")
        if rows[0].is_of_labels:
            panel.axvline(0, color=INK, linewidth=sheet.mark)
    _share_left([panel for panel, family in zip(panels, families, strict=True) if family != BY_LABEL])
    legend(figure, panels, sheet)
    return figure


def _families(
    parts: Sequence[Slice], families: Sequence[str], sheet: Sheet, *, num_settings: int
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel a family, as high as its parts need."""
    counts = [sum(part.family == family for part in parts) for family in families]
    if sheet.is_narrow:
        row = 0.13 + 0.03 * num_settings  # inches
        heights, height = [0.2 + count for count in counts], row * sum(counts) + 0.48 * len(families)
    else:
        heights = [1.2 + count for count in counts]
        height = 0.6 + 0.36 * sum(heights)
    figure = Figure(figsize=(sheet.width, height))
    return figure, list(figure.subplots(len(families), 1, squeeze=False, height_ratios=heights)[:, 0])


def _share_left(panels: Sequence[Axes]) -> None:
    """One scale for the correlations, so that families can be compared."""
    if panels:
        low = min(panel.get_xlim()[0] for panel in panels)
        for panel in panels:
            panel.set_xlim(low, 1.02)


def _slice_column(
    panel: Axes,
    scores: Sequence[SliceScore],
    style: SettingStyle,
    *,
    label: str,
    offset: float,
    size: float,
    of_labels: bool,
) -> None:
    for row, score in enumerate(scores):
        value, ends = (score.bias, score.bias_interval) if of_labels else (score.srocc, score.interval)
        name = "" if row else label
        panel.plot(value, row + offset, style.marker, color=style.colour, markersize=5 * size, label=name)
        if math.isfinite(ends.low):
            panel.plot([ends.low, ends.high], [row + offset] * 2, color=style.colour, linewidth=1.3 * size)


def _panels(shown: Sequence[Setting], numbers: Sequence[str], sheet: Sheet) -> tuple[Figure, list[Axes]]:
    """A panel a setting, with its name and numbers above."""
    columns = min(2 if sheet.is_narrow else 3, len(shown))
    rows = math.ceil(len(shown) / columns)
    letters = (sheet.letters - 6) // columns if sheet.is_narrow else 32
    titles = [f"{wrapped(one.words, width=letters)}\n{said}" for one, said in zip(shown, numbers, strict=True)]
    more = sheet.line * (max(map(num_lines, titles)) - 2)  # inches that longer names than most take
    if sheet.is_narrow:
        size = (sheet.width, 0.3 + rows * ((1.75 if columns > 1 else 2.4) + more))
    else:
        size = (max(1.4, columns) * 3.1, 0.3 + rows * (2.9 + more))
    figure = Figure(figsize=size)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place in range(len(shown), rows * columns):
        grid.flat[place].set_visible(False)
    panels = list(grid.flat[: len(shown)])
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
    for panel in panels[-columns:]:
        panel.tick_params(labelbottom=True)  # also where the panel below is not used
    return figure, panels


def _points(panel: Axes, x_N: Vector, y_N: Vector, style: SettingStyle, *, size: float) -> None:
    """A cloud of the items, and above it means of y in equal parts of them by x, with normal 95 % intervals."""
    _cloud(panel, x_N, y_N, style, size=size)
    parts = np.array_split(np.argsort(x_N, kind="stable"), min(NUM_BINS, max(1, len(x_N) // MIN_PER_BIN)))
    x, y = [x_N[part].mean() for part in parts], [y_N[part].mean() for part in parts]
    half = [1.96 * y_N[part].std(ddof=1) / math.sqrt(len(part)) if len(part) > 1 else 0.0 for part in parts]
    look: dict[str, Any] = {
        "markerfacecolor": style.colour,
        "markersize": 6 * size,
        "linewidth": 1.2 * size,
        "markeredgewidth": size,
    }
    panel.errorbar(x, y, yerr=half, fmt=style.marker, color=INK, **look)


def _cloud(panel: Axes, x_N: Vector, y_N: Vector, style: SettingStyle, *, size: float) -> None:
    if len(x_N) > MAX_POINTS:
        chosen = np.random.default_rng(0).choice(len(x_N), MAX_POINTS, replace=False)
        x_N, y_N = x_N[chosen], y_N[chosen]
    alpha = float(np.clip(120 / len(x_N), 0.15, 0.6))
    look: dict[str, Any] = {"alpha": alpha, "markersize": 5 * size, "markeredgewidth": 0, "rasterized": True}
    panel.plot(x_N, y_N, ".", color=style.colour, **look)
