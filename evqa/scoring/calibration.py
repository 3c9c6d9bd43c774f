"""A run's calibration, `calibration.json` in its folder: a map to the labels' scale, and prediction intervals.

The file may come from anybody: it holds numbers and names, which are checked, and it is used only for the checkpoint,
modality and scale that it was made of.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evqa.config.metric_names import with_groups
from evqa.config.paths import calibration_file
from evqa.errors import FileError
from evqa.metrics.calibration import KnotMap, LinearMap, ScoreMap
from evqa.metrics.conformal import Recalibration
from evqa.types import LabelScale

CHECKPOINT = "checkpoint_sha256"  # in this file, in a split's record, and in a merged folder's evqa.json
MAX_KNOTS = 1_000_000


class Calibrated(NamedTuple):
    """A recalibrated score and the ends of its interval, in the label's own scale and within it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A recalibration, and what it was made of.

    chosen: which checkpoint of how many it is of, where it was chosen on the same items; else None.
    """

    recalibration: Recalibration
    label: str
    modal: str
    checkpoint_sha256: str
    split: str
    n: int
    num_groups: int | None
    chosen: str | None

    def of(self, value: float) -> Calibrated:
        """Recalibrate a score."""
        score_1 = np.array([value])
        low_1, high_1 = self.recalibration.interval(score_1)
        return Calibrated(float(self.recalibration.calibrated(score_1)[0]), float(low_1[0]), float(high_1[0]))

    @property
    def percent(self) -> str:
        """The stated share of labels inside: `90 %`."""
        return f"{100 * self.recalibration.level:g} %"

    @property
    def statement(self) -> str:
        """What an interval says: `90 % interval, from n = 512 items of val; holds for videos like these`."""
        made_of = f"{self.percent} interval, from n = {with_groups(f'{self.n} items', self.num_groups)} of {self.split}"
        narrow = f"; too narrow, for the checkpoint ({self.chosen}) was chosen on them" if self.chosen else ""
        return f"{made_of}; holds for videos like these{narrow}"

    def misfit(self, *, scale: LabelScale, modal: str, checkpoint_sha256: Callable[[], object]) -> str | None:
        """Say why it is not one of these scores, or None. checkpoint_sha256: asked where everything else fits."""
        own, span = (self.label, self.recalibration.span), (scale.name, scale.range)
        if own != span:
            return f"it is of {_scale(*own)}, and the scores are {_scale(*span)}"
        if self.modal != modal:
            return f"it is of modal={self.modal}, and modal={modal} is scored"
        if self.checkpoint_sha256 != checkpoint_sha256():
            return "it is of another checkpoint"
        return None


class FoundCalibration(NamedTuple):
    """A calibration that fits, or the reason why the one that is there does not; neither where there is none."""

    calibration: Calibration | None = None
    problem: str | None = None


NO_CALIBRATION = FoundCalibration()


def find_calibration(
    folder: Path, *, scale: LabelScale, modal: str, checkpoint_sha256: Callable[[], object]
) -> FoundCalibration:
    """Read a folder's calibration, if any, and say whether it is one of the scores of this checkpoint and modality.

    Raises:
        FileError: the file is damaged.
    """
    file = calibration_file(folder)
    if not file.exists() and not file.is_symlink():
        return NO_CALIBRATION
    calibration = read_calibration(file)
    problem = calibration.misfit(scale=scale, modal=modal, checkpoint_sha256=checkpoint_sha256)
    return FoundCalibration(None, f"{file} is not used: {problem}") if problem else FoundCalibration(calibration)


def read_calibration(file: Path) -> Calibration:
    """Read and check a file. Raises FileError where it is not what `evqa calibrate` writes."""
    from evqa.models.safety import read_foreign

    mend = "write it anew with evqa calibrate, or remove it"
    try:
        return _calibration(read_foreign(file))
    except FileError as error:
        raise FileError(file, f"{error.reason}; {mend}") from error
    except ValueError as error:
        raise FileError(file, f"is damaged: {error}; {mend}") from error


def _calibration(content: Mapping[str, Any]) -> Calibration:
    label: Mapping[str, Any] = content["label"] if isinstance(content.get("label"), dict) else {}
    span = _numbers(label.get("range"), "label.range", count=2)
    level, width = _number(content.get("level"), "level"), _number(content.get("half_width"), "half_width")
    n, groups = _number(content.get("n"), "n"), content.get("num_groups")
    counts = [n] if groups is None else [n, _number(groups, "num_groups")]
    if not 0 < level < 1 or width < 0 or span[0] >= span[1] or any(one < 1 or one % 1 for one in counts):
        raise ValueError("level, half_width, label.range, n or num_groups has an impossible value")
    chosen = content.get("chosen_on_these_items")
    return Calibration(
        recalibration=Recalibration(
            curve=_curve(content.get("method"), content.get("map")),
            span=(span[0], span[1]),
            half_width=width,
            level=level,
        ),
        label=_text(label.get("name", None), "label.name"),
        modal=_text(content.get("modal"), "modal"),
        checkpoint_sha256=_text(content.get(CHECKPOINT), CHECKPOINT),
        split=_text(content.get("split"), "split"),
        n=int(n),
        num_groups=None if groups is None else int(counts[1]),
        chosen=None if chosen is None else _text(chosen, "chosen_on_these_items"),
    )


def _curve(method: object, about: object) -> ScoreMap:
    values: Mapping[str, Any] = about if isinstance(about, dict) else {}
    if method == "linear":
        line = LinearMap(
            intercept=_number(values.get("intercept"), "map.intercept"), slope=_number(values.get("slope"), "map.slope")
        )
        if line.slope <= 0:
            raise ValueError("map.slope must be above 0")
        return line
    if method != "isotonic":
        raise ValueError("method must be linear or isotonic")
    curve = KnotMap(
        scores=_numbers(values.get("scores"), "map.scores"), values=_numbers(values.get("values"), "map.values")
    )
    rises = all(one < other for one, other in itertools.pairwise(curve.scores))
    if len(curve.scores) != len(curve.values) or not rises or list(curve.values) != sorted(curve.values):
        raise ValueError("map.scores must rise, and map.values as many and never fall")
    return curve


def _number(value: object, key: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{key} must be a finite number")
    return number


def _numbers(value: object, key: str, *, count: int | None = None) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != (count or len(value)) or not 2 <= len(value) <= MAX_KNOTS:
        raise ValueError(f"{key} must be a list of {count or 'two or more'} numbers")
    return tuple(_number(one, key) for one in value)


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise ValueError(f"{key} must be a text")
    return value


def _scale(name: str, span: tuple[float, float]) -> str:
    return f"{name} on {span[0]:g} to {span[1]:g}"
