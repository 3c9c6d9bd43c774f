"""The style of pictures and how they are saved: as PNG beside the report and as SVG inside the page.

Colours are those of Okabe and Ito (2008), which people with any common colour blindness tell apart; settings differ by
marker too. Ink, grid and page are drawn in colours that the page replaces by its own, so that pictures fit a dark page.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.files.whole import whole_file
from evqa.reporting.study import Setting

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, GRID, PAGE, NEUTRAL = "#1f2430", "#d9dde4", "#fefefe", "#9aa0aa"

STYLE: dict[Any, Any] = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "text.parse_math": False,  # a setting's name may hold a dollar sign
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.hashsalt": "evqa",
}


def save(figure: Figure, path: Path) -> str:
    """Write the PNG and return an SVG for a page: no prolog, no addresses, ids of its own, the page's ink."""
    with whole_file(path) as file:
        figure.savefig(file, format="png", facecolor="white", metadata={"Software": None})
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{path.stem}-", svg)
    return svg.replace(INK, "currentColor").replace(GRID, "var(--line)").replace(PAGE, "var(--page)")


def wrapped(name: str, *, width: int = 32) -> str:
    """A name over several lines, so that nothing of it is lost."""
    return textwrap.fill(name, width, break_long_words=True)


def legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend below the panels, each name once, in as many columns as fit."""
    found = [pair for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    by_name = {name: handle for handle, name in reversed(found)}
    if by_name:
        names = list(reversed(by_name))
        widest = max(map(len, names)) + 6
        columns = max(1, min(4, int(figure.get_figwidth() * 11 / widest)))
        figure.legend([by_name[name] for name in names], names, loc="outside lower center", ncols=columns)


def seeds(setting: Setting) -> str:
    """`3 seeds`."""
    return f"{len(setting.runs)} seed" + ("s" if len(setting.runs) > 1 else "")
