"""Pictures of items: scores against labels, errors against scores, parts of the items.

# N items
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.metrics.correlation import Vector
from evqa.reporting.canvas import COLOURS, INK, MARKERS, NEUTRAL, legend, wrapped
from evqa.reporting.slices import BY_LABEL, Slice, score_slice, slices
from evqa.reporting.study import Setting, Study

NUM_BINS = 8
MIN_PER_BIN = 5
MAX_POINTS = 3000


def plot_scatter(study: Study, shown: Sequence[Setting]) -> Figure:
    """Scores against labels, one panel a setting."""
    figure, panels = _panels(shown)
    ends = [study.labels_N.min(), study.labels_N.max()]
    for place, (panel, setting) in enumerate(zip(panels, shown, strict=True)):
        scores_N, pooled = setting.scores_SN.mean(axis=0), setting.metrics[study.metric]
        panel.plot(ends, ends, color=NEUTRAL, linewidth=1)
        _cloud(panel, study.labels_N, scores_N, place)
        _bins(panel, study.labels_N, scores_N, place)
        panel.set_title(f"{wrapped(setting.words)}\n{pooled.mean:.3f}  [{pooled.low:.3f}, {pooled.high:.3f}]")
    figure.supxlabel(f"label ({study.label}), n = {study.size}", fontsize="medium")
    figure.supylabel(f"score (scale of {study.label})", fontsize="medium")
    return figure


def plot_residuals(study: Study, shown: Sequence[Setting]) -> Figure:
    """Errors against scores, one panel a setting."""
    figure, panels = _panels(shown)
    for place, (panel, setting) in enumerate(zip(panels, shown, strict=True)):
        scores_N = setting.scores_SN.mean(axis=0)
        errors_N = scores_N - study.labels_N
        panel.axhline(0, color=NEUTRAL, linewidth=1)
        _cloud(panel, scores_N, errors_N, place)
        _bins(panel, scores_N, errors_N, place)
        panel.set_title(
            f"{wrapped(setting.words)}\nRMSE {math.sqrt(np.mean(errors_N**2)):.3f}, mean {errors_N.mean():+.3f}"
        )
    figure.supxlabel(f"score (scale of {study.label}), n = {study.size}", fontsize="medium")
    figure.supylabel(f"score − label ({study.label})", fontsize="medium")
    return figure


def plot_slices(study: Study, shown: Sequence[Setting]) -> Figure:
    """Rank correlation (mean error for label deciles) on each part, one panel a family."""
    parts = slices(study)
    families = list(dict.fromkeys(part.family for part in parts))
    heights = [1.2 + sum(part.family == family for part in parts) for family in families]
    figure = Figure(figsize=(7.6, 0.6 + 0.36 * sum(heights)))
    panels = figure.subplots(len(families), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, family in zip(panels, families, strict=True):
        rows = [part for part in parts if part.family == family]
        for place, setting in enumerate(shown):
            _slice_column(panel, study, setting, rows, place=place, of=len(shown))
        panel.set_yticks(range(len(rows)), [f"{part.name}, n = {len(part.places_K)}" for part in rows])
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.set_title(family)
        panel.grid(visible=False, axis="y")
        panel.set_xlabel(f"mean of score − label ({study.label})" if rows[0].is_of_labels else "SROCC")
        if rows[0].is_of_labels:
            panel.axvline(0, color=INK, linewidth=1)
    _share_left([panel for panel, family in zip(panels, families, strict=True) if family != BY_LABEL])
    legend(figure, list(panels))
    return figure


def _share_left(panels: Sequence[Axes]) -> None:
    """One scale for the correlations, so that families can be compared."""
    if panels:
        low = min(panel.get_xlim()[0] for panel in panels)
        for panel in panels:
            panel.set_xlim(low, 1.02)


def _slice_column(panel: Axes, study: Study, setting: Setting, rows: Sequence[Slice], *, place: int, of: int) -> None:
    offset = (place - (of - 1) / 2) * 0.6 / of
    for row, part in enumerate(rows):
        score = score_slice(study, setting, part)
        value = score.bias if part.is_of_labels else score.srocc
        label = "" if row else setting.words
        panel.plot(value, row + offset, MARKERS[place], color=COLOURS[place], markersize=5, label=label)
        if math.isfinite(score.interval.low) and not part.is_of_labels:
            ends = [score.interval.low, score.interval.high]
            panel.plot(ends, [row + offset] * 2, color=COLOURS[place], linewidth=1.3)


def _panels(shown: Sequence[Setting]) -> tuple[Figure, list[Axes]]:
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(max(1.4, columns) * 3.1, 0.3 + rows * 2.9))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place in range(len(shown), rows * columns):
        grid.flat[place].set_visible(False)
    return figure, list(grid.flat[: len(shown)])


def _cloud(panel: Axes, x_N: Vector, y_N: Vector, place: int) -> None:
    if len(x_N) > MAX_POINTS:
        chosen = np.random.default_rng(0).choice(len(x_N), MAX_POINTS, replace=False)
        x_N, y_N = x_N[chosen], y_N[chosen]
    alpha = float(np.clip(120 / len(x_N), 0.15, 0.6))
    panel.plot(x_N, y_N, ".", color=COLOURS[place], alpha=alpha, markersize=5, markeredgewidth=0, rasterized=True)


def _bins(panel: Axes, x_N: Vector, y_N: Vector, place: int) -> None:
    """Means of y in equal parts of the items by x, with normal 95 % intervals."""
    parts = np.array_split(np.argsort(x_N, kind="stable"), min(NUM_BINS, max(1, len(x_N) // MIN_PER_BIN)))
    x, y = [x_N[part].mean() for part in parts], [y_N[part].mean() for part in parts]
    half = [1.96 * y_N[part].std(ddof=1) / math.sqrt(len(part)) if len(part) > 1 else 0.0 for part in parts]
    face = COLOURS[place]
    panel.errorbar(x, y, yerr=half, fmt=MARKERS[place], color=INK, markerfacecolor=face, markersize=6, linewidth=1.2)
