"""Where a model is good and where it is not: the same metrics on parts of the items, and the items themselves.

# N items, K items of a slice, S seeds
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evqa.files.whole import write_table
from evqa.metrics import Interval, count_groups, estimate_interval, srocc
from evqa.metrics.correlation import Vector
from evqa.metrics.groups import Groups, numbered
from evqa.metrics.resampling import LEVEL, bootstrap_each
from evqa.reporting.runs import Item
from evqa.reporting.study import Matrix, Setting, Study

DURATION_EDGES = (0.0, 5.0, 10.0, 20.0, 60.0, math.inf)  # seconds; SnapUGC's clips are of 5 to 60 s, half under 10 s
NUM_DECILES = 10
NUM_VALUES = 10  # of one tag
BY_LABEL = "label decile"
NUM_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some of the items. `family`: what they are cut by; `places_K`: which items of the study they are."""

    family: str
    name: str
    places_K: NDArray[np.intp]

    @property
    def is_of_labels(self) -> bool:
        """Whether the cut is by label: labels then hardly differ within it, and a rank correlation says little."""
        return self.family == BY_LABEL


@dataclass(frozen=True, kw_only=True)
class SliceScore:
    """A setting on a slice, means over its seeds: SROCC, mean error (score - label), RMSE.

    interval, bias_interval: 95 %, over items, of SROCC and of the mean error (normal theory, t); NaN for single items.
    """

    n: int
    srocc: float
    interval: Interval
    bias: float
    bias_interval: Interval
    rmse: float


def slices(study: Study) -> list[Slice]:
    """All slices that hold some of the items: one that holds all would repeat the total."""
    found = [*_families(study.items), *_tags(study.items), *_deciles(study.labels_N)]
    return [one for one in found if 0 < len(one.places_K) < len(study.items)]


def _families(items: Sequence[Item]) -> list[Slice]:
    parts: list[tuple[str, str, Callable[[Item], bool]]] = []
    for low, high in pairwise(DURATION_EDGES):
        name = f"{low:g} s and more" if math.isinf(high) else f"{low:g} to {high:g} s"
        parts.append(("duration", name, lambda item, low=low, high=high: low <= _or(item.duration, -1.0) < high))  # type: ignore[misc]
    parts += [
        ("sound", "with sound", lambda item: item.has_audio is True),
        ("sound", "without sound", lambda item: item.has_audio is False),
        ("text", "title and description", lambda item: _has(item.title_chars) and _has(item.description_chars)),
        ("text", "empty title", lambda item: item.title_chars == 0),
        ("text", "empty description", lambda item: item.description_chars == 0),
        ("text", "both empty", lambda item: item.title_chars == 0 and item.description_chars == 0),
    ]
    return [Slice(family=family, name=name, places_K=_places(items, test)) for family, name, test in parts]


def _tags(items: Sequence[Item]) -> list[Slice]:
    """Cut by every tag; of one with many values (a creator) only by those that most items have."""
    counts = defaultdict[str, Counter[str]](Counter)
    for item in items:
        for name, value in item.tags.items():
            counts[name][value] += 1
    chosen = [(name, value) for name in sorted(counts) for value, _ in counts[name].most_common(NUM_VALUES)]
    return [
        Slice(family=name, name=value, places_K=_places(items, lambda item, n=name, v=value: item.tags.get(n) == v))  # type: ignore[misc]
        for name, value in chosen
    ]


def _deciles(labels_N: Vector) -> list[Slice]:
    order = np.argsort(labels_N, kind="stable")
    parts = np.array_split(order, NUM_DECILES) if len(order) >= NUM_DECILES else []
    return [
        Slice(family=BY_LABEL, name=f"{number} ({labels_N[part[0]]:.3g} to {labels_N[part[-1]]:.3g})", places_K=part)
        for number, part in enumerate(parts, start=1)
    ]


def score_slice(study: Study, settings: Sequence[Setting], part: Slice) -> list[SliceScore]:
    """Score settings on a slice, with the same resamples; SROCC is NaN where it does not exist."""
    labels_K, all_groups = study.labels_N[part.places_K], study.groups
    groups = [all_groups[place] for place in part.places_K.tolist()]
    scores = [setting.scores_SN[:, part.places_K] for setting in settings]
    each = [scores_K for scores_SK in scores for scores_K in scores_SK]
    drawn = iter(bootstrap_each(each, labels_K, metrics=("srocc",), num_resamples=NUM_RESAMPLES, groups=groups))
    return [_score(scores_SK, labels_K, groups, [next(drawn)["srocc"] for _ in scores_SK]) for scores_SK in scores]


def _score(scores_SK: Matrix, labels_K: Vector, groups: Groups, draws_SR: Sequence[Vector]) -> SliceScore:
    value = float(np.mean([srocc(scores_K, labels_K).value for scores_K in scores_SK]))
    num_units = count_groups(groups) or len(groups)
    errors_SK = scores_SK - labels_K
    return SliceScore(
        n=len(labels_K),
        srocc=value,
        interval=estimate_interval("srocc", value, np.asarray(np.mean(draws_SR, axis=0)), num_units=num_units),
        bias=float(errors_SK.mean()),
        bias_interval=_of_mean(errors_SK.mean(axis=0), groups),
        rmse=float(np.sqrt((errors_SK**2).mean(axis=1)).mean()),
    )


def _of_mean(errors_K: Vector, groups: Groups) -> Interval:
    """The t interval of a mean, from the sums of the deviations within each group."""
    mean, deviations_G = errors_K.mean(), np.bincount(numbered(groups), errors_K - errors_K.mean())
    num_units = len(deviations_G)
    if num_units < 2:
        return Interval(low=math.nan, high=math.nan)
    from scipy import stats

    error = math.sqrt(num_units / (num_units - 1) * (deviations_G**2).sum()) / len(errors_K)
    half = stats.t.ppf((1 + LEVEL) / 2, num_units - 1) * error
    return Interval(low=float(mean - half), high=float(mean + half))


@dataclass(frozen=True, kw_only=True)
class ScoredItem:
    """One item with the mean of a setting's scores over its seeds."""

    id: str
    item: Item
    score: float
    error: float


def by_error(study: Study, setting: Setting) -> list[ScoredItem]:
    """All items, the largest absolute error first."""
    scores_N = setting.scores_SN.mean(axis=0)
    scored = [
        ScoredItem(id=id_, item=item, score=float(score), error=float(score - item.label))
        for id_, item, score in zip(study.ids, study.items, scores_N, strict=True)
    ]
    return sorted(scored, key=lambda one: (-abs(one.error), one.id))


def write_items(path: Path, study: Study) -> None:
    """Write a CSV file of all items with their label and every setting's mean score."""
    means = [setting.scores_SN.mean(axis=0) for setting in study.settings]
    items = zip(study.ids, study.labels_N, *means, strict=True)
    rows = ([id_, *(repr(float(number)) for number in numbers)] for id_, *numbers in items)
    write_table(path, ["Id", study.label, *(setting.name for setting in study.settings)], rows)


def _places(items: Sequence[Item], test: Callable[[Item], bool]) -> NDArray[np.intp]:
    return np.array([place for place, item in enumerate(items) if test(item)], dtype=np.intp)


def _has(count: int | None) -> bool:
    return count is not None and count > 0


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
