"""The style and sizes of pictures and how they are saved: for the screen and the page, and for a paper's column.

Ink, grid and page are drawn in colours that the page replaces by its own, so that pictures fit a dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.files.whole import whole_file
from evqa.reporting.colours import INK
from evqa.reporting.document import BREAKS
from evqa.reporting.study import Setting

GRID, PAGE, NEUTRAL = "#d9dde4", "#fefefe", "#9aa0aa"
COLUMN_MM, PRINT_DPI = 88, 300
MANY_ROWS = 20  # from more on they are closer together
LONG_NAME = 26  # characters; on a narrow sheet longer names of rows stand above their rows

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
PRINT_STYLE = STYLE | {
    "figure.dpi": PRINT_DPI,
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2,
    "axes.titlepad": 3,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.0,
    "legend.labelspacing": 0.3,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3 fonts
}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What a picture is drawn for.

    width, row, line: inches of the picture, of a row without its name, of a line of text. letters: how many stand
    beside each other in the width. mark: size of marks and lines, 1 on the screen.
    """

    style: dict[Any, Any]
    width: float
    row: float
    line: float
    letters: int
    mark: float
    is_narrow: bool


SCREEN = Sheet(style=STYLE, width=7.6, row=0.42, line=0.16, letters=84, mark=1.0, is_narrow=False)
COLUMN = Sheet(style=PRINT_STYLE, width=COLUMN_MM / 25.4, row=0.24, line=0.122, letters=58, mark=0.6, is_narrow=True)


def save(figure: Figure, path: Path) -> str:
    """Write the PNG and return the same as `as_svg` does; its ids begin with the file's name."""
    with whole_file(path) as file:
        figure.savefig(file, format="png", facecolor="white", metadata={"Software": None})
    return as_svg(figure, name=path.stem)


def as_svg(figure: Figure, *, name: str) -> str:
    """Return an SVG for a page: no prolog, no addresses, ids of its own, the page's ink."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace(INK, "currentColor").replace(GRID, "var(--line)").replace(PAGE, "var(--page)")


def save_for_print(figure: Figure, path: Path) -> None:
    """Write a picture in the format of the path's suffix (pdf, svg or png), the same bytes for the same picture."""
    nameless: dict[str, dict[str, Any]] = {
        ".pdf": {"CreationDate": None},
        ".svg": {"Date": None},
        ".png": {"Software": None},
    }
    with whole_file(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=PRINT_DPI, facecolor="white", metadata=nameless[path.suffix])


def wrapped(name: str, *, width: int = 32) -> str:
    """A name over several lines, so that nothing of it is lost; words longer than a line break where keys do."""
    lines = [""]
    for word in name.split(" "):
        parts = [word] if len(word) <= width else BREAKS.split(word)
        pieces = [part[begin : begin + width] for part in parts for begin in range(0, max(1, len(part)), width)]
        for number, piece in enumerate(pieces):
            joint = "" if number or not lines[-1] else " "
            if len(lines[-1] + joint + piece) <= width:
                lines[-1] += joint + piece
            else:
                lines.append(piece)
    return "\n".join(lines)


def num_lines(text: str) -> int:
    """How many lines a wrapped text has."""
    return text.count("\n") + 1


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A panel with a row for each name. of_row: inches in the panel's own unit, which is from a row to the next."""

    figure: Figure
    panel: Axes
    of_row: float


def rows(names: Sequence[str], *, label: str, sheet: Sheet) -> Rows:
    """Make a panel with names beside its rows, or above them where the sheet is narrow and a name is long."""
    is_above = sheet.is_narrow and max(map(len, names)) > LONG_NAME
    texts = [wrapped(name, width=sheet.letters if is_above else LONG_NAME if sheet.is_narrow else 60) for name in names]
    text = max(map(num_lines, texts)) * sheet.line
    height = sheet.row * (1 if len(names) <= MANY_ROWS else 0.6)
    pitch = text + height if is_above else max(height, text + 0.06)
    figure = Figure(figsize=(sheet.width, (0.5 if sheet.is_narrow else 0.9) + pitch * len(names)))
    panel, of_row = figure.subplots(), height / pitch
    panel.grid(visible=False, axis="y")
    panel.set_xlabel(label.replace(", ", ",\n", 1) if sheet.is_narrow else label)
    if not is_above:
        panel.set_yticks(range(len(names)), texts)
        panel.set_ylim(len(names) - 0.4, -0.6)
        return Rows(figure=figure, panel=panel, of_row=of_row)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.set_ylim(len(names) - 1 + 0.6 * of_row, -0.5 * of_row - text / pitch)
    beside: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "va": "bottom", "linespacing": 1.1}
    beside["in_layout"] = False  # the lines are as long as the sheet is wide
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for row, name in enumerate(texts):
        panel.text(0, row - 0.45 * of_row, name, bbox=ground, zorder=3, **beside)
    return Rows(figure=figure, panel=panel, of_row=of_row)


def legend(figure: Figure, panels: Sequence[Axes], sheet: Sheet) -> None:
    """One legend below the panels, each name once, in as many columns as fit; the figure grows where it is long."""
    found = [pair for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    by_name = {name: handle for handle, name in reversed(found)}
    if not by_name:
        return
    names = list(reversed(by_name))
    letters = int(sheet.letters / sheet.width * figure.get_figwidth())
    columns = max(1, min(4, letters // (max(map(len, names)) + 6)))
    texts = [wrapped(name, width=letters - 6) for name in names]
    lines = sum(map(num_lines, texts)) / columns
    figure.set_figheight(figure.get_figheight() + sheet.line * max(0, lines - (0 if sheet.is_narrow else 2)))
    figure.legend([by_name[name] for name in names], texts, loc="outside lower center", ncols=columns)


def seeds(setting: Setting) -> str:
    """`3 seeds`."""
    return f"{len(setting.runs)} seed" + ("s" if len(setting.runs) > 1 else "")
