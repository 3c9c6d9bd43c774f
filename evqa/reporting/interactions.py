"""Does a difference between two settings depend on what an item is? Differences of differences by the table's tags.

The difference within a part (`category=music`) less that among the other items of the column, from one bootstrap over
all items or groups, the same resamples for both settings and both sides, so that everything is paired and a group that
lies on both sides is drawn once. The noise of training enters as in `comparing`: the spread over seeds of (metric
within the part - metric elsewhere). Holm's correction counts every interaction of a report.

# N items, K items of one side, R resamples, S seeds, P parts
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evqa.files.names import shown
from evqa.files.progress import BEGINS_ANEW, counted
from evqa.metrics import METRICS, Difference, Interval, count_groups, holm, interval, smallest_detectable
from evqa.metrics.correlation import Vector
from evqa.metrics.draws import DrawnItems, Prediction, Ties, metrics_of
from evqa.metrics.paired import difference_of_draws
from evqa.metrics.resampling import item_counts
from evqa.reporting.comparing import MIN_FREEDOM, MIN_ITEMS, compared_pairs, with_training
from evqa.reporting.study import Comparison, Matrix, Setting, Study

MAX_PAIRS = 3  # the first compared ones: more would join the correction and take minutes
MAX_PARTS = 12  # of one column
FEWEST, MOST = 500, 2000  # resamples
MAX_CELLS = 400_000_000  # resamples x items x parts x runs, above which there are fewer resamples: some 5 s

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TagPart:
    """The items of one value of a column, and its other items. elsewhere: their value, where they have only one."""

    column: str
    value: str
    elsewhere: str | None
    inside_N: Mask
    outside_N: Mask


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """How much more one setting gains against another within a part than elsewhere, in the study's metric.

    inside, outside: `first - second` on the part's n items and on the others; their intervals are over items.
    difference: inside - outside, over items and, where `freedom` > 0, training seeds; p adjusted by Holm.
    raw_p: before. items_error: standard error over items. shift: standard deviation of the seeds' part.
    """

    first: str
    second: str
    shared: str
    column: str
    value: str
    elsewhere: str | None
    n: int
    inside: float
    inside_ends: Interval
    outside: float
    outside_ends: Interval
    difference: Difference
    raw_p: float
    items_error: float
    shift: float
    freedom: int


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """All that were tested, of `num_pairs` of the study's comparisons. left_out: columns without parts to test, why."""

    found: tuple[Interaction, ...] = ()
    num_pairs: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SideScores:
    """A setting on one side of a part: the metric by seed [S] and its draws [R], means over seeds."""

    of_seeds_S: Vector
    draws_R: Vector
    reason: str | None


Sides = tuple[SideScores, SideScores]  # inside a part, and outside


def interactions(study: Study, *, num_resamples: int | None = None) -> Interactions:
    """Test the first compared pairs of settings by every column that has parts of enough items.

    num_resamples: None for 2,000, of many items, parts and runs fewer.
    """
    if not study.comparisons or study.num_units < MIN_ITEMS:
        return Interactions()
    parts, left_out = find_parts(study)
    pairs = compared_pairs(study)[:MAX_PAIRS] if parts else []
    settings = {one.name: one for pair in pairs for one in pair}
    cells = len(study.ids) * len(parts) * sum(len(one.runs) for one in settings.values())
    num_resamples = num_resamples or min(MOST, max(FEWEST, MAX_CELLS // max(cells, 1)))
    sides = _score_all(study, list(settings.values()), parts, num_resamples=num_resamples)
    tested = []
    for number, part in enumerate(parts):
        noise = _seed_spread([one[number] for one in sides.values()])
        for comparison, (first, second) in zip(study.comparisons, pairs, strict=False):
            both = sides[first.name][number], sides[second.name][number]
            tested.append(_test(comparison, part, *both, noise=noise))
    return Interactions(found=_adjusted(tested), num_pairs=len(pairs), left_out=tuple(left_out))


def find_parts(study: Study) -> tuple[list[TagPart], list[str]]:
    """The parts of all columns of tags, and why a column has none. Only items with a value of the column count."""
    found, left_out = list[TagPart](), list[str]()
    groups = np.array(study.groups, dtype=object)
    for column in sorted({name for item in study.items for name in item.tags}):
        values_N = np.array([item.tags.get(column) for item in study.items], dtype=object)
        sizes = {
            value: count_groups(groups[values_N == value].tolist()) or count
            for value, count in Counter(value for value in values_N if value is not None).most_common()
        }
        large = [value for value, size in sizes.items() if size >= MIN_ITEMS]
        if 2 <= len(large) <= MAX_PARTS:
            found += _parts(column, values_N, large, num_values=len(sizes))
        else:
            left_out.append(
                f"{shown(column)}: {len(large)} of its {len(sizes)} values have {MIN_ITEMS} {study.units} or more, "
                f"2 to {MAX_PARTS} are needed"
            )
    return found, left_out


def _parts(column: str, values_N: NDArray[np.object_], large: Sequence[str], *, num_values: int) -> list[TagPart]:
    """A part a value; of two values alone the first one, for the other says the same."""
    known_N = np.array([value is not None for value in values_N])
    is_halved = num_values == 2
    return [
        TagPart(
            column=shown(column),
            value=shown(value),
            elsewhere=shown(large[1]) if is_halved else None,
            inside_N=values_N == value,
            outside_N=known_N & (values_N != value),
        )
        for value in (large[:1] if is_halved else large)
    ]


def _score_all(
    study: Study, settings: Sequence[Setting], parts: Sequence[TagPart], *, num_resamples: int
) -> dict[str, list[Sides]]:
    """Each setting by its name on both sides of each part. The resamples are the same for all of them."""
    if not settings:
        return {}
    order_N = np.argsort(study.labels_N, kind="stable")
    sides = [_Side(study, settings, order_N, mask_N) for one in parts for mask_N in (one.inside_N, one.outside_N)]
    drawn = item_counts(study.labels_N, study.groups, num_resamples=num_resamples, seed=0)
    with counted("resampling parts of the items", num_resamples, stderr=True, then=BEGINS_ANEW) as counting:
        for counts_RN in drawn:
            for side in sides:
                side.draw(counts_RN)
            counting.move(counting.done + len(counts_RN))
    scores = {one.name: [side.scores(one.name) for side in sides] for one in settings}
    return {name: list(zip(values[::2], values[1::2], strict=True)) for name, values in scores.items()}


class _Side:
    """The items of one side. at_K: their places among all, by label."""

    def __init__(self, study: Study, settings: Sequence[Setting], order_N: NDArray[np.intp], mask_N: Mask) -> None:
        self.metric, self.at_K = study.metric, np.flatnonzero(mask_N[order_N])
        places_K = order_N[self.at_K]
        labels_K = study.labels_N[places_K]
        self.label_ties = Ties(labels_K)
        self.predictions = {
            one.name: [Prediction(scores_N[places_K], labels_K) for scores_N in one.scores_SN] for one in settings
        }
        self.draws: dict[str, list[Vector]] = {one.name: [] for one in settings}

    def draw(self, counts_RN: Matrix) -> None:
        """Take further resamples of all items; of a setting the mean over seeds is kept."""
        sample = DrawnItems(np.take(counts_RN, self.at_K, axis=1), self.label_ties)
        for name, predictions in self.predictions.items():
            draws = [metrics_of(sample, one, (self.metric,))[self.metric] for one in predictions]
            self.draws[name].append(np.asarray(np.mean(draws, axis=0)))

    def scores(self, name: str) -> SideScores:
        """What was drawn of a setting, and its metric itself."""
        measures = [METRICS[self.metric](one.scores_N, one.labels_N) for one in self.predictions[name]]
        return SideScores(
            of_seeds_S=np.array([measure.value for measure in measures]),
            draws_R=np.concatenate(self.draws[name]),
            reason=next((measure.reason for measure in measures if measure.reason), None),
        )


def _seed_spread(of_settings: Sequence[Sides]) -> tuple[float, int]:
    """Standard deviation over seeds of (inside - outside), pooled over settings, and its degrees of freedom."""
    known = [inside.of_seeds_S - outside.of_seeds_S for inside, outside in of_settings]
    known = [gap_S for gap_S in known if len(gap_S) > 1 and np.isfinite(gap_S).all()]
    freedom = sum(len(gap_S) - 1 for gap_S in known)
    if freedom < MIN_FREEDOM:
        return 0.0, 0
    return math.sqrt(sum(((gap_S - gap_S.mean()) ** 2).sum() for gap_S in known) / freedom), freedom


def _test(comparison: Comparison, part: TagPart, one: Sides, other: Sides, *, noise: tuple[float, int]) -> Interaction:
    values = [float(a.of_seeds_S.mean() - b.of_seeds_S.mean()) for a, b in zip(one, other, strict=True)]
    draws = [a.draws_R - b.draws_R for a, b in zip(one, other, strict=True)]
    reason = next((side.reason for side in (*one, *other) if side.reason), None)
    spread, freedom = noise
    shift = spread * math.sqrt(1 / len(comparison.first_seeds) + 1 / len(comparison.second_seeds))
    of_items = difference_of_draws(values[0] - values[1], draws[0] - draws[1], reason=reason)
    difference = with_training(of_items, draws[0] - draws[1], shift=shift, freedom=freedom)
    return Interaction(
        first=comparison.first,
        second=comparison.second,
        shared=comparison.shared,
        column=part.column,
        value=part.value,
        elsewhere=part.elsewhere,
        n=int(part.inside_N.sum()),
        inside=values[0],
        inside_ends=interval(draws[0]),
        outside=values[1],
        outside_ends=interval(draws[1]),
        difference=difference,
        raw_p=difference.p,
        items_error=of_items.standard_error,
        shift=shift,
        freedom=freedom,
    )


def _adjusted(tested: Sequence[Interaction]) -> tuple[Interaction, ...]:
    """With p by Holm over all, and the interaction that a test of this family finds with 80 % probability."""
    p_values = holm([one.raw_p for one in tested])
    family = max(1, sum(not math.isnan(p) for p in p_values))
    return tuple(
        replace(
            one,
            difference=replace(
                one.difference,
                p=p,
                detectable=smallest_detectable(one.items_error, shift=one.shift, freedom=one.freedom, family=family),
            ),
        )
        for one, p in zip(tested, p_values, strict=True)
    )
