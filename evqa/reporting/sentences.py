"""The answer of a study in sentences, and how numbers are written."""

from __future__ import annotations

import math

from evqa.metrics.names import PRINTED
from evqa.metrics.resampling import NUM_RESAMPLES
from evqa.reporting.canvas import seeds
from evqa.reporting.study import Comparison, Pooled, Study

MAX_VERDICTS = 8
ALPHA = 0.05


def verdicts(study: Study) -> list[str]:
    """The answer in sentences."""
    best = study.best
    pooled, name = best.metrics[study.metric], PRINTED[study.metric]
    where = f"on {study.split}" + (f", n = {len(study.ids)} items" if study.ids else "")
    said = [f"Highest {name} {where}: {best.name}, {with_interval(pooled)} ({seeds(best)})."]
    said += [_verdict(comparison) for comparison in study.comparisons[:MAX_VERDICTS]]
    left = len(study.comparisons) - MAX_VERDICTS
    if left > 0:
        said.append(f"{left} more comparisons are in the table of paired differences.")
    if study.seed_pairs:
        said.append(seed_verdict(study))
    if study.unfinished:
        count = len(study.unfinished)
        said.append(f"Without predictions, so not in the tables but listed below: {count} run{'s' * (count > 1)}.")
    return said


def _verdict(comparison: Comparison) -> str:
    first, second, difference = comparison.first, comparison.second, comparison.difference
    both = f" (both {comparison.shared})" if comparison.shared else ""
    if difference.reason:
        return f"{first} and {second}{both} cannot be compared: {difference.reason}."
    numbers = f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}], p = {p_text(difference.p)}"
    if difference.p < ALPHA:
        word = "better" if difference.value > 0 else "worse"
        return f"{first} is {word} than {second}{both}: {numbers}."
    return (
        f"No difference was shown between {first} and {second}{both}: {numbers}. This comparison finds true "
        f"differences from {difference.detectable:.3f} on with 80 % probability."
    )


def seed_verdict(study: Study) -> str:
    """Whether seeds of the same setting differ."""
    known = [pair for pair in study.seed_pairs if not pair.difference.reason]
    count = f"{len(known)} pairs" if len(known) > 1 else "1 pair"
    found, by_items = (
        sum(one.p < ALPHA for one in differences)
        for differences in ([pair.difference for pair in known], [pair.items_only for pair in known])
    )
    largest = f"(largest difference {max((abs(pair.difference.value) for pair in known), default=math.nan):.3f})"
    causes = f"items and the noise of training (SD {study.seed_spread:.3f})" if study.freedom else "items"
    if found:
        return (
            f"{found} of {count} of seeds of the same setting differ by more than the chance of {causes} explains "
            f"{largest}: judge settings by several seeds."
        )
    said = f"Two seeds of the same setting do not differ: none of {count} by more than {causes} explain {largest}."
    if by_items:
        said += f" By items alone {by_items} of {count} would: judge settings by several seeds."
    return said


def method(study: Study) -> list[str]:
    """How the numbers were computed, in sentences."""
    said = [
        f"Intervals: percentile bootstrap over items, {NUM_RESAMPLES} resamples, the same ones for every run, so that "
        "differences are paired. PLCC and the challenge score are of raw scores, without a fitted curve.",
        "p: two-sided, from the draws of the difference (none can be below 0.001). Holm's correction holds the chance "
        "of any false finding in one table below 5 %.",
        "Detectable: (1.96 + 0.84) times the standard error of the difference.",
        "Settings are what runs differ in; seeds are pooled. Only items that all runs have scored are used.",
    ]
    if study.freedom:
        said.append(
            f"Intervals with seeds add the noise of training: its standard deviation {study.seed_spread:.4f} is pooled "
            f"over all settings ({study.freedom} degrees of freedom, taken to be alike everywhere), t-distributed."
        )
    if study.label == "ECR":
        said.append(
            "ECR in the challenge's files is a normalised rank, close to uniform on 0-1: a score of 0.8 means 'ahead "
            "of about 80 % of the videos', not that 80 % of the viewers stay."
        )
    return said


def with_interval(pooled: Pooled) -> str:
    """`0.812 [0.790, 0.831]`, or why there is no value."""
    if math.isnan(pooled.mean):
        return f"none ({pooled.reason})"
    ends = "" if math.isnan(pooled.low) else f" [{pooled.low:.3f}, {pooled.high:.3f}]"
    return f"{pooled.mean:.3f}{ends}"


def number(value: float, *, sign: str = "") -> str:
    """Four decimals; `-` for NaN."""
    return "-" if math.isnan(value) else f"{value:{sign}.4f}"


def ends(low: float, high: float, *, sign: str = "") -> str:
    """The ends of an interval; `-` for NaN."""
    return "-" if math.isnan(low) else f"{low:{sign}.3f} to {high:{sign}.3f}"


def fact(value: float | None) -> str:
    """A plain number; `-` where it is not known."""
    return "-" if value is None else f"{value:g}"


def p_text(value: float) -> str:
    """A p-value with two digits; `-` for NaN."""
    return "-" if math.isnan(value) else f"{value:.2g}"
