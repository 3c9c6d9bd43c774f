"""One axis of a search space, read from Hydra's grammar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclass(frozen=True)
class Axis:
    """A key and where its values come from. suggest: a trial's value as text for an override."""

    key: str
    rule: str
    draw: Callable[[Trial, str], str]

    def suggest(self, trial: Trial) -> str:
        """Draw a value, or repeat the one that the trial already has."""
        return self.draw(trial, self.key)

    def __repr__(self) -> str:
        return f"{self.key}={self.rule}"


def read_axis(override: Override) -> Axis:
    """The axis that a sweep override describes."""
    value, key = override.value(), override.get_key_element()
    rule = str(override.input_line).partition("=")[2]
    if isinstance(value, IntervalSweep):
        return Axis(key, rule, _interval(value))
    if isinstance(value, RangeSweep):
        return Axis(key, rule, _range(value))
    return Axis(key, rule, _choice(list(override.sweep_string_iterator())))


def _interval(sweep: IntervalSweep) -> Callable[[Trial, str], str]:
    low, high, log = sweep.start, sweep.end, "log" in (sweep.tags or ())
    if isinstance(low, int) and isinstance(high, int):
        return lambda trial, key: str(trial.suggest_int(key, low, high, log=log))
    return lambda trial, key: repr(trial.suggest_float(key, float(low or 0), float(high or 0), log=log))


def _range(sweep: RangeSweep) -> Callable[[Trial, str], str]:
    values: list[Any] = list(sweep.range())
    if all(isinstance(value, int) for value in values):
        step = int(sweep.step)
        return lambda trial, key: str(trial.suggest_int(key, min(values), max(values), step=abs(step)))
    return _choice([repr(value) for value in values])


def _choice(texts: list[str]) -> Callable[[Trial, str], str]:
    return lambda trial, key: str(trial.suggest_categorical(key, texts))
