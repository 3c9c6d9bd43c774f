"""What an ensemble gains over its best member, where the same labels must say which member that is.

The best of several members on some labels is too good on these: it is chosen out of fold, as weights are fitted.

The gain's variance has two parts. That of the items, for the scores as they are, is a bootstrap's. Other items would
also have led to other weights, another best member and other folds: all of it is done anew in random parts of the
items, and what the gain varies there beyond that of the given scores in the same parts is of the second order. Such a
variance falls with the square of the number of items, so that in parts of r of them it is (1 - r^2) / r^2 times as
large as in all (Hoeffding 1948, section 5, for U-statistics; Efron and Stein 1981 for why it cannot be left out).

# N items, M members, R resamples, F folds, K items of a part
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from evqa.ensembling.fitting import (
    MIN_ITEMS_PER_FOLD,
    NUM_INNER_FOLDS,
    Places,
    best_member,
    on_labels_scale,
    outer_folds,
    standardised,
)
from evqa.ensembling.members import Matrix, Vector
from evqa.metrics import Difference, Groups, bootstrap, challenge, count_groups, interval, smallest_detectable
from evqa.metrics.groups import numbered
from evqa.metrics.resampling import LEVEL

NUM_RESAMPLES = 500  # for a standard error
NUM_PARTS = 10
LARGEST_PART = 500  # items or groups; of fewer than twice as many, half
SMALLEST_PART = 12  # four folds, of which three leave what the inner folds need
ROUNDING = 1e-12  # members that are copies differ by less
FEW = "too few items or groups to choose the best member by others than it is compared on"
NO_PARTS = "too few items or groups to tell what other ones would have led to"
SAME = f"the ensemble is its best member, also where all was done anew in {NUM_PARTS} random parts of the items"

Again = Callable[[Places, int], Vector]  # honest scores of an ensemble that is made anew, of places and a seed


@dataclass(frozen=True, kw_only=True)
class Division:
    """How items are divided into folds, groups kept together."""

    groups: Groups | None = None
    num_folds: int = 5
    seed: int = 0

    def of(self, places_K: Places, labels_N: Vector, seed: int) -> Division:
        """That of some of the items: fewer folds where they are few."""
        groups = None if self.groups is None else [self.groups[place] for place in places_K.tolist()]
        return Division(groups=groups, seed=seed, num_folds=self.num_folds).possible(labels_N[places_K])

    def possible(self, labels_N: Vector) -> Division:
        """With as many folds as there can be at most."""
        return replace(self, num_folds=min(self.num_folds, self.num_units(labels_N) // MIN_ITEMS_PER_FOLD))

    def num_units(self, labels_N: Vector) -> int:
        """How many groups or single items there are."""
        return count_groups(self.groups) or len(labels_N)

    def folds(self, labels_N: Vector) -> list[Places]:
        """The folds; none where there are too few items."""
        division = self.possible(labels_N)
        return outer_folds(labels_N, **vars(division)) if division.num_folds > 1 else []


@dataclass(frozen=True, kw_only=True)
class RandomPart:
    """Some of the items. held, anew: the best member's challenge score there, with the choice of all and its own."""

    places_K: Places
    seed: int
    held: float
    anew: float


@dataclass(frozen=True, kw_only=True)
class BestMember:
    """The best member as it is known without the labels that it is compared on.

    scores_N: in the labels' scale; None without folds (too few items). held_R: draws of its challenge score.
    share: of the items or groups that a part has.
    """

    labels_N: Vector
    groups: Groups | None
    scores_N: Vector | None = None
    held_R: Vector
    parts: tuple[RandomPart, ...] = ()
    share: float = 1.0

    def gain(self, scores_N: Vector, *, again: Again) -> Difference:
        """Challenge score of an honest ensemble over this one; interval and p are of Student's t."""
        if self.scores_N is None or not self.parts:
            return _without(FEW if self.scores_N is None else NO_PARTS)
        one, other = challenge(scores_N, self.labels_N), challenge(self.scores_N, self.labels_N)
        ensemble_R = bootstrap(
            scores_N, self.labels_N, metrics=("challenge",), num_resamples=NUM_RESAMPLES, groups=self.groups
        )["challenge"]
        held_P, anew_P = self._in_parts(scores_N, again)
        reason = one.reason or other.reason
        for draws in (ensemble_R - self.held_R, held_P, anew_P):
            reason = reason or interval(draws).reason
        if reason:
            return _without(reason)
        num_units = count_groups(self.groups) or len(self.labels_N)
        of_items = float(np.nanvar(ensemble_R - self.held_R, ddof=1)) * num_units / (num_units - 1)
        beyond = float(np.nanvar(anew_P, ddof=1) - np.nanvar(held_P, ddof=1))
        error = math.sqrt(of_items + max(0.0, beyond) * self.share**2 / (1 - self.share**2))
        value = one.value - other.value
        if max(abs(value), error) < ROUNDING:
            return _without(SAME, value=0.0)
        return _difference(value, error, freedom=num_units - 1)

    def _in_parts(self, scores_N: Vector, again: Again) -> tuple[Vector, Vector]:
        """The gain in each part: of the given scores, and where all is done anew."""
        held, anew = list[float](), list[float]()
        for part in self.parts:
            labels_K = self.labels_N[part.places_K]
            held.append(challenge(scores_N[part.places_K], labels_K).value - part.held)
            anew.append(challenge(again(part.places_K, part.seed), labels_K).value - part.anew)
        return np.array(held), np.array(anew)


def best_out_of_fold(scores_NM: Matrix, labels_N: Vector, division: Division) -> BestMember:
    """Choose the best member for each fold by the other items."""
    folds, groups = division.folds(labels_N), division.groups
    if not folds:
        return BestMember(labels_N=labels_N, groups=groups, held_R=np.empty(0))
    chosen_N = _chosen(scores_NM, labels_N, folds)
    best_N = on_labels_scale(chosen_N, labels_N)
    held_R = bootstrap(best_N, labels_N, metrics=("challenge",), num_resamples=NUM_RESAMPLES, groups=groups)
    size, drawn = _parts(labels_N, division)
    parts = []
    for seed, places_K in enumerate(drawn, start=division.seed + 1):
        labels_K = labels_N[places_K]
        anew_K = _chosen(scores_NM[places_K], labels_K, division.of(places_K, labels_N, seed).folds(labels_K))
        held, anew = (challenge(one_K, labels_K).value for one_K in (chosen_N[places_K], anew_K))
        parts.append(RandomPart(places_K=places_K, seed=seed, held=held, anew=anew))
    return BestMember(
        labels_N=labels_N,
        groups=groups,
        scores_N=best_N,
        held_R=held_R["challenge"],
        parts=tuple(parts),
        share=size / division.num_units(labels_N),
    )


def _chosen(scores_NM: Matrix, labels_N: Vector, folds: list[Places]) -> Vector:
    """Scores of the members that are best without each fold, all of spread 1."""
    standard_NM, chosen_N = standardised(scores_NM), np.zeros_like(labels_N)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(labels_N)), fold)
        chosen_N[fold] = standard_NM[fold, best_member(standard_NM[rest], labels_N[rest])]
    return chosen_N


def _parts(labels_N: Vector, division: Division) -> tuple[int, list[Places]]:
    """The size of random parts and their items, whole groups; none where a part is too small to fit and choose in."""
    num_units, num_folds = division.num_units(labels_N), division.num_folds
    needed = math.ceil(NUM_INNER_FOLDS * MIN_ITEMS_PER_FOLD * num_folds / (num_folds - 1))
    size = max(min(num_units // 2, LARGEST_PART), SMALLEST_PART, needed)
    if size >= num_units:
        return num_units, []
    unit_N = numbered(division.groups or [None] * len(labels_N))
    generator = np.random.default_rng(division.seed)
    drawn = [generator.permutation(num_units)[:size] for _ in range(NUM_PARTS)]
    return size, [np.flatnonzero(np.isin(unit_N, units)) for units in drawn]


def _without(reason: str, *, value: float = math.nan) -> Difference:
    none = math.nan
    return Difference(value=value, low=none, high=none, p=none, standard_error=none, detectable=none, reason=reason)


def _difference(value: float, error: float, *, freedom: int) -> Difference:
    from scipy import stats

    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Difference(
        value=value,
        low=value - half,
        high=value + half,
        p=float(2 * stats.t.sf(abs(value) / error, freedom)) if error else 1.0,
        standard_error=error,
        detectable=smallest_detectable(error),
    )
