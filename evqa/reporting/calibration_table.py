"""Do the scores of settings have the size of the labels? Slope and intercept of the labels on the scores."""

from __future__ import annotations

from collections.abc import Mapping

from evqa.metrics.calibration import LineEstimates, line_estimates
from evqa.metrics.evaluation import Estimate
from evqa.reporting.document import Block, Heading, TableBlock
from evqa.reporting.plots import left_out, shown_settings
from evqa.reporting.sentences import ends, number
from evqa.reporting.study import Study


def calibrations(study: Study) -> dict[str, LineEstimates]:
    """The lines of the settings that are shown, means over seeds; empty where no labels are known."""
    if not study.ids:
        return {}
    shown = shown_settings(study)
    lines = line_estimates([setting.scores_SN for setting in shown], study.labels_N, groups=study.groups)
    return {setting.name: line for setting, line in zip(shown, lines, strict=True)}


def calibration_blocks(study: Study, lines: Mapping[str, LineEstimates]) -> list[Block]:
    """The section of the report; empty without lines."""
    if not lines:
        return []
    rows = tuple((name, *_cells(line.slope), *_cells(line.intercept)) for name, line in lines.items())
    caption = (
        f"Least-squares line of the labels on the scores, n = {study.size}. Means over seeds; 95 % intervals over "
        f"{study.units}. Of calibrated scores the slope is 1 and the intercept 0; a slope below 1: scores are too far "
        f"apart. The command evqa calibrate gives a run's scores the labels' size, and intervals.{left_out(study)}"
    )
    columns = ("setting", "slope", "95 % interval", "intercept", "95 % interval")
    return [Heading(text="Calibration"), TableBlock(columns=columns, rows=rows, caption=caption)]


def _cells(estimate: Estimate) -> tuple[str, str]:
    return estimate.reason or number(estimate.value), ends(estimate.low, estimate.high)
