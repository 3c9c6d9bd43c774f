"""What a report tells: runs pooled by setting on the items that all have scored, and their comparisons.

# N items, R resamples, S seeds
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evqa.config.metric_names import with_groups
from evqa.errors import RunError
from evqa.files.names import shown
from evqa.metrics import METRICS, Difference, Groups, Interval, count_groups, estimate_interval
from evqa.metrics.correlation import Vector
from evqa.metrics.resampling import NUM_RESAMPLES, bootstrap_each
from evqa.reporting.axes import Values, axes, setting_name
from evqa.reporting.runs import Item, Run, look_of

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A metric of a setting: mean over seeds, their standard deviation (NaN for one), interval over items."""

    mean: float
    spread: float
    low: float
    high: float
    of_seeds: tuple[float, ...]
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Runs that differ in nothing but the seed. scores_SN: in the study's order of items; empty without labels."""

    name: str
    values: Values
    runs: tuple[Run, ...]
    metrics: Mapping[str, Pooled]
    scores_SN: Matrix
    draws: Mapping[str, tuple[Vector, ...]]

    @property
    def words(self) -> str:
        """A short name where there are several axes: `regression, none, av`."""
        return ", ".join(self.values.values()) if len(self.values) > 1 else self.name

    def mean_draws(self, metric: str) -> Vector:
        """Draws [R] of the mean over seeds."""
        return np.asarray(np.mean(self.draws[metric], axis=0))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`first - second` in the study's metric; the differences' p are adjusted by Holm over the whole family.

    first, second: what differs between the two settings. shared: what they have in common.
    difference: items and, where `freedom` > 0, training seeds. items_only: the same without the seeds' part.
    raw_p, items_raw_p: as they are before the correction. shift: standard deviation of the seeds' part.
    """

    first: str
    second: str
    shared: str
    first_seeds: tuple[str, ...]
    second_seeds: tuple[str, ...]
    difference: Difference
    items_only: Difference
    others: Mapping[str, Interval]
    raw_p: float
    items_raw_p: float
    shift: float
    freedom: int


@dataclass(frozen=True, kw_only=True)
class SeedPair:
    """Two seeds of one setting, by items alone; the difference's p is adjusted by Holm over all such pairs."""

    setting: str
    first: str
    second: str
    difference: Difference
    raw_p: float


@dataclass(frozen=True, kw_only=True)
class Study:
    """All that a report tells, settings from best to worst. Without labels there are no items, comparisons or draws."""

    split: str
    metric: str
    label: str
    ids: tuple[str, ...]
    items: tuple[Item, ...]
    labels_N: Vector
    axes: tuple[str, ...]
    settings: tuple[Setting, ...]
    comparisons: tuple[Comparison, ...] = ()
    seed_pairs: tuple[SeedPair, ...] = ()
    baseline: Values | None = None
    family: Mapping[str, Sequence[str]] | None = None
    seed_spread: float = math.nan
    freedom: int = 0
    unfinished: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> Groups:
        """The group of every item, None for one without."""
        return [item.group for item in self.items]

    @property
    def size(self) -> str:
        """How many items there are, and in how many groups, where any has one: `400 items in 100 groups`."""
        return with_groups(f"{len(self.ids)} items", count_groups(self.groups))

    @property
    def num_units(self) -> int:
        """How many units intervals are drawn from: groups, where any item has one, else items."""
        return count_groups(self.groups) or len(self.ids)

    @property
    def units(self) -> str:
        """What intervals are drawn from: `groups`, where any item has one, else `items`."""
        return "items" if count_groups(self.groups) is None else "groups"

    @property
    def best(self) -> Setting:
        """The setting with the highest score."""
        return self.settings[0]


def pool(
    runs: Sequence[Run],
    *,
    split: str,
    metric: str = "challenge",
    num_resamples: int = NUM_RESAMPLES,
    told: Callable[[int], object] = int,
) -> Study:
    """Pool runs by setting, without comparing them. told: is handed how many resamples are done, again and again.

    Raises RunError where nothing can be reported together.
    """
    if metric == "rmse" or metric not in METRICS:
        raise RunError(f"--metric {metric}: settings are compared by {', '.join(m for m in METRICS if m != 'rmse')}.")
    values = dict(zip((run.path for run in runs), axes(runs), strict=True))
    usable = [run for run in runs if run.scores is not None]
    if not usable:
        missing = "\n  ".join(f"{run.name}: {run.problem}" for run in runs)
        raise RunError(f"No run has predictions for '{split}':\n  {missing}")
    labels = sorted({str(run.label) for run in usable})
    if len(labels) > 1:
        raise RunError(f"The runs predict different things ({', '.join(labels)}); report them separately.")
    usable, small = _without_small(usable)
    ids, items, notes = _shared_items(usable)
    labels_N = np.array([item.label for item in items])
    settings = _settings(usable, values, ids=ids, items=items, num_resamples=num_resamples, told=told)
    return Study(
        split=split,
        metric=metric,
        label=shown(labels[0]),
        ids=ids,
        items=items,
        labels_N=labels_N,
        axes=tuple(next(iter(values.values()))),
        settings=tuple(sorted(settings, key=lambda one: -np.nan_to_num(one.metrics[metric].mean, nan=-2.0))),
        unfinished=tuple(run for run in runs if run.scores is None),
        notes=(*small, *notes),
    )


def _without_small(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Leave out runs with less than half of the largest one's items, a trial of `data.limit` for instance."""
    largest = max(len(run.scores or {}) for run in runs)
    kept = [run for run in runs if 2 * len(run.scores or {}) >= largest]
    return kept, [
        f"{run.name} has scores for {len(run.scores or {})} items and another run for {largest}; it is left out, "
        "because only items that all runs have are compared. Report it alone, or with runs of its size."
        for run in runs
        if run not in kept
    ]


def _shared_items(runs: Sequence[Run]) -> tuple[tuple[str, ...], tuple[Item, ...], list[str]]:
    """Ids with a label that all runs have scored, what is known about them, and notes on what is left out."""
    known: dict[str, Item] = {}
    for run in runs:
        for id_, item in run.items.items():
            if id_ in known and not _same(known[id_].label, item.label):
                raise RunError(f"The runs have different labels for {id_}; give the right ones with --labels.")
            known.setdefault(id_, item)
    labelled = [id_ for id_, item in known.items() if not math.isnan(item.label)]
    if not labelled:
        return (), (), ["No labels are known (no targets file beside the predictions): give them with --labels."]
    shared = [id_ for id_ in labelled if all(id_ in (run.scores or {}) for run in runs)]
    if not shared:
        raise RunError(
            "The runs have no labelled item in common; report them separately, or with --repeats where they repeat a "
            "setting over random splits or folds."
        )
    notes = []
    for run in runs:
        left_out = len(run.scores or {}) - len(shared)
        if left_out:
            notes.append(
                f"{run.name} has scores for {left_out} items that not all runs have with a label; left out here."
            )
        if failed := run.record.get("num_failed"):
            notes.append(f"{run.name}: {failed} items failed and have no score.")
        if (look := look_of(run.record)) > 1:
            notes.append(f"{run.name}: look {look} at its test split; its first one counts.")
    return tuple(shared), tuple(known[id_] for id_ in shared), notes


def _same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _settings(
    runs: Sequence[Run],
    values: Mapping[Path, Values],
    *,
    ids: Sequence[str],
    items: Sequence[Item],
    num_resamples: int,
    told: Callable[[int], object],
) -> list[Setting]:
    """All settings, their runs by seed. The resamples are drawn once for all runs."""
    by_values: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.name)):
        by_values.setdefault(tuple(values[run.path].items()), []).append(run)
    members = [run for _, group in sorted(by_values.items()) for run in group]
    scores_SN = np.array([[(run.scores or {})[id_] for id_ in ids] for run in members])
    labels_N, groups = np.array([item.label for item in items]), [item.group for item in items]
    drawn = (
        bootstrap_each(list(scores_SN), labels_N, groups=groups, num_resamples=num_resamples, told=told) if ids else []
    )
    num_units, settings, first = count_groups(groups) or len(items), list[Setting](), 0
    for key, group in sorted(by_values.items()):
        own = slice(first, first := first + len(group))
        draws = {name: tuple(one[name] for one in drawn[own]) for name in METRICS}
        metrics = {
            name: _pooled(name, scores_SN[own], labels_N, draws[name], num_units=num_units)
            if ids
            else _recorded(group, name)
            for name in METRICS
        }
        found = dict(key)
        settings.append(
            Setting(
                name=setting_name(found),
                values=found,
                runs=tuple(group),
                metrics=metrics,
                scores_SN=scores_SN[own],
                draws=draws,
            )
        )
    return settings


def _pooled(name: str, scores_SN: Matrix, labels_N: Vector, draws: Sequence[Vector], *, num_units: int) -> Pooled:
    measures = [METRICS[name](scores_N, labels_N) for scores_N in scores_SN]
    reason = next((measure.reason for measure in measures if measure.reason), None)
    mean = float(np.mean([measure.value for measure in measures]))
    ends = estimate_interval(name, mean, np.asarray(np.mean(draws, axis=0)), num_units=num_units)
    return _summary([measure.value for measure in measures], ends, reason or ends.reason)


def _recorded(runs: Sequence[Run], name: str) -> Pooled:
    """From the runs' own records, for predictions whose labels are not at hand."""
    records = [run.record.get("metrics", {}).get(name, {}) for run in runs]
    numbers = [
        {key: math.nan if one.get(key) is None else one[key] for key in ("value", "low", "high")} for one in records
    ]
    alone = numbers[0] if len(numbers) == 1 else {"low": math.nan, "high": math.nan}
    reason = next((str(one["reason"]) for one in records if one.get("reason")), None)
    return _summary([one["value"] for one in numbers], Interval(low=alone["low"], high=alone["high"]), reason)


def _summary(values: Sequence[float], ends: Interval, reason: str | None) -> Pooled:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Pooled(
        mean=float(np.mean(values)), spread=spread, low=ends.low, high=ends.high, of_seeds=tuple(values), reason=reason
    )
