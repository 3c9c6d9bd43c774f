"""Pictures of the score over a numeric setting, such as a learning rate, a number of frames or LoRA's rank."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.config.metric_names import PRINTED
from evqa.files.names import listed
from evqa.reporting.axes import setting_name
from evqa.reporting.canvas import Sheet, legend
from evqa.reporting.colours import MARKERS, SettingStyle, styles
from evqa.reporting.study import Setting, Study

MIN_VALUES = 3  # of an axis, and of the longest of its lines
WIDE_RANGE = 20  # the axis is logarithmic where the highest value is more than so many times the lowest
NAMED_BY_NUMBER = ("lora", "frames")  # groups whose options are named by a quantity: r8, r16, r64
OPTION = re.compile(r"([A-Za-z_]*)(\d+)([A-Za-z_]*)")
NO_QUANTITY = re.compile(r"(.*[._])?(seed|split_seed|folds?)")
CAPTION = (
    "Marks: mean over seeds, with the 95 % interval over items. Small dots: single seeds. Between the values nothing "
    "was measured; marks of one value stand a little apart."
)
NUM_NAMED = 12  # lines that are left out


@dataclass(frozen=True, kw_only=True)
class Line:
    """The settings that differ on the axis alone, by its value."""

    name: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, kw_only=True)
class NumericAxis:
    """An axis of a study with numbers. numbers: by the value as it is written. lines: the one with the best first."""

    name: str
    numbers: Mapping[str, float]
    lines: tuple[Line, ...]

    @property
    def is_logarithmic(self) -> bool:
        """Whether the values span a wide range, or are powers of 2 or 10."""
        values = sorted(self.numbers.values())
        powers = any(all(_is_power(value, base) for value in values) for base in (2, 10))
        return values[0] > 0 and (values[-1] > WIDE_RANGE * values[0] or powers)

    def of(self, setting: Setting) -> float:
        """The number of a setting."""
        return self.numbers[setting.values[self.name]]


def numeric_axes(study: Study) -> list[NumericAxis]:
    """The axes with three numbers or more, where that many belong to settings that are alike otherwise."""
    found = [(name, _numbers(name, [one.values[name] for one in study.settings])) for name in study.axes]
    axes = [NumericAxis(name=name, numbers=numbers, lines=_lines(study, name, numbers)) for name, numbers in found]
    return [axis for axis in axes if any(len(line.settings) >= MIN_VALUES for line in axis.lines)]


def _numbers(axis: str, values: Sequence[str]) -> dict[str, float]:
    """The values that are finite numbers, or the largest set of options that are named alike but for a number."""
    if NO_QUANTITY.fullmatch(axis):
        return {}
    plain = {value: number for value in values if (number := _number(value)) is not None}
    alike = dict[tuple[str, str], dict[str, float]]()
    for value in values if axis in NAMED_BY_NUMBER else ():
        if parts := OPTION.fullmatch(value):
            alike.setdefault((parts[1], parts[3]), {})[value] = float(parts[2])
    return max([plain, *alike.values()], key=len)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_power(value: float, base: int) -> bool:
    return value > 0 and math.isclose(exponent := math.log(value, base), round(exponent), abs_tol=1e-9)


def _lines(study: Study, axis: str, numbers: Mapping[str, float]) -> tuple[Line, ...]:
    groups = dict[tuple[tuple[str, str], ...], list[Setting]]()
    for one in study.settings:
        rest = tuple((key, value) for key, value in one.values.items() if key != axis)
        if one.values[axis] in numbers and not math.isnan(one.metrics[study.metric].mean):
            groups.setdefault(rest, []).append(one)
    return tuple(
        Line(
            name=setting_name(dict(rest)) if rest else "",
            settings=tuple(sorted(members, key=lambda one: numbers[one.values[axis]])),
        )
        for rest, members in groups.items()
    )


def shown_lines(study: Study, axis: NumericAxis) -> list[Line]:
    """As many lines as there are markers: those with the best settings, and the baseline's best among them."""
    baseline = study.baseline or {}
    base = [one for one in axis.lines if baseline and baseline.items() <= one.settings[0].values.items()][:1]
    chosen = [*base, *(one for one in axis.lines if one not in base)][: len(MARKERS)]
    return [one for one in axis.lines if one in chosen]


def caption_of(study: Study, axis: NumericAxis) -> str:
    """How to read the picture, and what it leaves out."""
    shown, base = shown_lines(study, axis), " and the baseline's" if study.baseline else ""
    said, left = CAPTION, [f"({one.name})" for one in axis.lines if one not in shown]
    if left:
        said += f" Shown are {len(shown)} of {len(axis.lines)} lines, those with the highest scores{base}; not shown: "
        said += f"{listed(left, shown=NUM_NAMED)}."
    values = [one.values[axis.name] for one in study.settings]
    if lacking := dict.fromkeys(value for value in values if value not in axis.numbers):
        said += f" Not on the axis: {axis.name}={listed(lacking)}."
    if unscored := [f"({one.name})" for one in study.settings if math.isnan(one.metrics[study.metric].mean)]:
        said += f" Without a value: {listed(unscored)}."
    return said


def plot_over(study: Study, axis: NumericAxis, sheet: Sheet) -> Figure:
    """The score over an axis: a line for every combination of the other axes."""
    figure = Figure(figsize=(sheet.width, 2.2 if sheet.is_narrow else 3.6))
    panel, lines = figure.subplots(), shown_lines(study, axis)
    if axis.is_logarithmic:
        panel.set_xscale("log")
    first = [line.settings[0] for line in lines]
    style = styles(first, first)
    for place, line in enumerate(lines):
        aside = place - (len(lines) - 1) / 2
        x, beside = ([_moved(axis, axis.of(one), by=by) for one in line.settings] for by in (aside, aside + 0.7))
        _draw(panel, line, x, beside, metric=study.metric, style=style[line.settings[0].name], size=sheet.mark)
    _mark_values(panel, axis, sheet)
    panel.set_xlabel(axis.name)
    panel.set_ylabel(PRINTED[study.metric])
    legend(figure, [panel], sheet)
    return figure


def _draw(
    panel: Axes,
    line: Line,
    x: Sequence[float],
    beside: Sequence[float],
    *,
    metric: str,
    style: SettingStyle,
    size: float,
) -> None:
    """Draw a line: means and intervals at x, single seeds beside them."""
    pooled, colour = [one.metrics[metric] for one in line.settings], style.colour
    look: dict[str, Any] = {"color": colour, "marker": style.marker, "linestyle": style.line, "markersize": 6 * size}
    panel.plot(x, [one.mean for one in pooled], linewidth=1.3 * size, label=line.name, **look)
    for at, aside, one in zip(x, beside, pooled, strict=True):
        if math.isfinite(one.low):
            panel.plot([at, at], [one.low, one.high], color=colour, linewidth=1.8 * size, solid_capstyle="butt")
        if len(one.of_seeds) > 1:
            panel.plot([aside] * len(one.of_seeds), one.of_seeds, ".", color=colour, markersize=4 * size)


def _moved(axis: NumericAxis, value: float, *, by: float) -> float:
    """A value moved aside by `by` hundredths of the axis."""
    values = sorted(axis.numbers.values())
    if axis.is_logarithmic:
        return float(value * (values[-1] / values[0]) ** (0.01 * by))
    return value + 0.01 * by * (values[-1] - values[0])


def _mark_values(panel: Axes, axis: NumericAxis, sheet: Sheet) -> None:
    """A tick at every value, with its name where that does not run into the one before."""
    found = dict(sorted(((number, word) for word, number in axis.numbers.items()), reverse=True))
    values = sorted(found)
    scale = math.log if axis.is_logarithmic else float
    spread = scale(values[-1]) - scale(values[0])
    names, end = list[str](), -math.inf
    for value in values:
        middle = (scale(value) - scale(values[0])) / spread * 0.8 * sheet.letters
        half = len(found[value]) / 2
        names.append(found[value] if middle - half > end else "")
        end = middle + half + 1 if names[-1] else end
    panel.set_xticks(values, names)
    panel.minorticks_off()
