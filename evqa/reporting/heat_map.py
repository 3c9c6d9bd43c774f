"""Levels along a video's play time: a heat map, and the same as text.

# R rows, S seconds
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from evqa.metrics.correlation import Vector
from evqa.reporting.canvas import NEUTRAL, STYLE, as_svg, save, wrapped

SECONDS_A_BAND = 600  # one below the other, so that a second stays wide enough to be seen
TICKS = (1, 2, 5, 10, 15, 30, 60, 120)  # seconds between two of them
MOST_TICKS = 14
SHORTEST_IN_MINUTES = 91  # from here on, times are minutes and seconds
CELL, SECONDS_A_BLOCK = 5, 10  # of a text: characters a second, and seconds that stand beside each other
BRIGHTER_IS_BETTER = mpl.colormaps["viridis"].with_extremes(bad=NEUTRAL)  # in print and to the colour-blind, too


def draw_levels(levels: Mapping[str, Sequence[float | None]], path: Path, *, title: str) -> None:
    """Write a heat map of levels (0 worst, 1 best, None unknown) along the seconds, a row a name, as a PNG."""
    with _styled():
        save(_figure(levels, title), path)


def levels_svg(levels: Mapping[str, Sequence[float | None]], *, title: str, name: str) -> str:
    """Return the heat map for a page. name: what its ids begin with."""
    with _styled():
        return as_svg(_figure(levels, title), name=name)


@contextmanager
def _styled() -> Iterator[None]:
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a title's scripts are not all in one font
        yield


def _figure(levels: Mapping[str, Sequence[float | None]], title: str) -> Figure:
    levels_RS, rows = np.array(list(levels.values()), dtype=float), list(levels)
    num_seconds = levels_RS.shape[1]
    bands = range(0, num_seconds, SECONDS_A_BAND)
    longest = min(num_seconds, SECONDS_A_BAND)
    width = float(np.clip(3.4 + 0.11 * longest, 7.0, 15.0))
    figure = Figure(figsize=(width, 1.1 + len(bands) * (0.7 + 0.24 * len(rows))))
    panels = list(figure.subplots(len(bands), 1, squeeze=False)[:, 0])
    for panel, begin in zip(panels, bands, strict=True):
        _band(panel, levels_RS[:, begin : begin + SECONDS_A_BAND], rows, begin=begin, longest=longest)
    panels[0].set_title(wrapped(title, width=int(width * 9)))
    in_minutes = num_seconds >= SHORTEST_IN_MINUTES
    panels[-1].set_xlabel("time (minutes:seconds)" if in_minutes else "time (seconds)")
    if in_minutes:
        for panel in panels:
            panel.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{int(at) // 60}:{int(at) % 60:02d}"))
    colours = ScalarMappable(Normalize(0, 1), BRIGHTER_IS_BETTER)
    figure.colorbar(colours, ax=panels, fraction=0.04, pad=0.02, label="level (0 worst, 1 best)")
    if np.isnan(levels_RS).any():
        figure.legend([Patch(color=NEUTRAL)], ["not asked"], loc="outside lower left")
    return figure


def _band(panel: Axes, levels_RS: Vector, rows: Sequence[str], *, begin: int, longest: int) -> None:
    end = begin + levels_RS.shape[1]
    extent = (begin, end, len(rows) - 0.5, -0.5)
    panel.imshow(
        levels_RS, cmap=BRIGHTER_IS_BETTER, vmin=0, vmax=1, aspect="auto", extent=extent, interpolation="nearest"
    )
    panel.set_xlim(begin, begin + longest)
    panel.set_yticks(range(len(rows)), [wrapped(row) for row in rows])
    panel.xaxis.set_major_locator(MultipleLocator(next(step for step in TICKS if longest <= MOST_TICKS * step)))
    panel.grid(visible=False)


def levels_as_text(levels: Mapping[str, Sequence[float | None]], *, width: int) -> str:
    """Write levels as lines of a row each, some seconds beside each other, in `width` columns where the names allow."""
    margin = max(map(len, ("second", *levels))) + 1
    step = min(SECONDS_A_BLOCK, max(1, (width - margin) // CELL))
    num_seconds = len(next(iter(levels.values())))
    blocks = []
    for begin in range(0, num_seconds, step):
        numbers = map(str, range(begin, min(begin + step, num_seconds)))
        rows = {"second": numbers} | {name: map(_cell, row[begin : begin + step]) for name, row in levels.items()}
        lines = [name.ljust(margin) + "".join(cell.rjust(CELL) for cell in cells) for name, cells in rows.items()]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _cell(level: float | None) -> str:
    return "-" if level is None else f"{level:.2f}"
