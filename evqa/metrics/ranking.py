"""What users act on: which of two items is better, and which items are among the best.

Each measure answers with a `Measure`, as in `evqa.metrics.correlation`, and `ranking_draws` gives its bootstrap draws.
Every draw equals the measure of the resampled vectors; that of pairs is made of KROCC's, which is of first order. Two
rules hold for ties, so that no value depends on the order of the items: the wanted items are all whose label is at
least the m-th highest one, m being the rounded share of the items (at least one); of scores that are equal at the
border of a selection each item is selected in part, which is the mean over all orders of the equal ones.

# R resamples, N items, G distinct values from the highest down, S predictions
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from evqa.metrics.correlation import Measure, Vector, as_vectors, krocc, obstacle
from evqa.metrics.draws import Matrix
from evqa.metrics.groups import Groups
from evqa.metrics.ranked import Falling, Ranked, Resamples
from evqa.metrics.resampling import item_counts

Draws = Callable[[Resamples, Ranked], Vector]


def _found(sample: Resamples, by_score: Ranked, *, selected: float, wanted: float) -> Vector:
    """How many wanted items are among the selected ones [R]; NaN where all items are wanted."""
    most_R = sample.top(selected).most_R
    end = int(by_score.reach(most_R).max()) + 1
    sizes_RG = by_score.sizes_RG[:, :end]
    above_RG = by_score.upto_RG[:, :end] - sizes_RG
    part_RG = np.clip((most_R[:, None] - above_RG) / np.maximum(sizes_RG, 1.0), 0.0, 1.0)
    found_R = np.einsum("rg,rg->r", sample.wanted(by_score, wanted, end), part_RG)
    return np.where(sample.top(wanted).wanted_R < sample.num_R, found_R, math.nan)


def _precision(*, selected: float, wanted: float) -> Draws:
    return lambda sample, by_score: (
        _found(sample, by_score, selected=selected, wanted=wanted) / sample.top(selected).most_R
    )


def _recall(*, selected: float, wanted: float) -> Draws:
    return lambda sample, by_score: (
        _found(sample, by_score, selected=selected, wanted=wanted) / sample.top(wanted).wanted_R
    )


def _auc(*, wanted: float) -> Draws:
    def draws(sample: Resamples, by_score: Ranked) -> Vector:
        num_R, wanted_R = sample.num_R, sample.top(wanted).wanted_R
        ranks_RG = by_score.sizes_RG / 2 - by_score.upto_RG  # mid-ranks from the lowest score up, less num_R + 1/2
        sum_R = np.einsum("rg,rg->r", sample.wanted(by_score, wanted), ranks_RG) + wanted_R * (num_R + 0.5)
        pairs_R = np.where(wanted_R < num_R, wanted_R * (num_R - wanted_R), math.nan)
        return np.asarray((sum_R - wanted_R * (wanted_R + 1) / 2) / pairs_R)

    return draws


def _ndcg(*, selected: float) -> Draws:
    def draws(sample: Resamples, by_score: Ranked) -> Vector:
        most_R, by_label = sample.top(selected).most_R, sample.by_label
        discounts = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(2, most_R.max() + 2)))]  # of the first 0, 1, 2, ...
        end = int(by_score.reach(most_R).max()) + 1
        labels_N = sample.labels_N[by_score.order_N[: by_score.num_items(end)]]
        means_RG = by_score.grouped(labels_N, end) / np.maximum(by_score.sizes_RG[:, :end], 1.0)
        lost_R = sample.lowest_R * discounts[most_R.astype(np.intp)]
        best_R = _discounted(by_label, by_label.values_G[None], most_R, discounts)
        return np.asarray((_discounted(by_score, means_RG, most_R, discounts) - lost_R) / (best_R - lost_R))

    return draws


def _discounted(ranked: Ranked, gains_RG: Matrix, most_R: Vector, discounts: Vector) -> Vector:
    """Discounted cumulative gain [R] of the first `most_R` items, all items of a value with the same gain."""
    end = int(ranked.reach(most_R).max()) + 1
    upto_RG = ranked.upto_RG[:, :end]
    first_RG, last_RG = (
        discounts[np.minimum(ends_RG, most_R[:, None]).astype(np.intp)]
        for ends_RG in (upto_RG - ranked.sizes_RG[:, :end], upto_RG)
    )
    return np.asarray((gains_RG[:, :end] * (last_RG - first_RG)).sum(axis=1))


def _measure(scores: ArrayLike, labels: ArrayLike, draws: Draws) -> Measure:
    """The measure is its draw from a resample that has each item once."""
    scores_N, labels_N = as_vectors(scores, labels)
    reason = obstacle(scores_N, labels_N)
    if reason:
        return Measure(value=math.nan, reason=reason)
    sample = _once(labels_N)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(draws(sample, Ranked.of(sample.counts_RN, Falling(scores_N)))[0])
    return Measure(value=value, reason="no label is below those of the wanted items" if math.isnan(value) else None)


def _once(labels_N: Vector) -> Resamples:
    return Resamples(np.ones((1, len(labels_N))), labels_N)


def by_chance(labels: ArrayLike) -> dict[str, float]:
    """What every measure of `RANKING` is on average where scores say nothing: that of scores that are all equal."""
    sample = _once(np.asarray(labels, dtype=np.float64))
    all_equal = Ranked.of(sample.counts_RN, Falling(np.zeros(len(sample.labels_N))))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"pairwise": 0.5, **{name: float(draws(sample, all_equal)[0]) for name, draws in SHOWN.items()}}


def num_judged(labels: ArrayLike) -> dict[str, float]:
    """How many items each measure of `RANKING` is a share of, or like one: what a value of 1 is as sure as."""
    sample = _once(np.asarray(labels, dtype=np.float64))
    tenth, fifth = sample.top(0.1), sample.top(0.2)
    num_auc = min(fifth.wanted_R[0], sample.num_R[0] - fifth.wanted_R[0])
    numbers = (sample.num_R[0], tenth.most_R[0], fifth.most_R[0], tenth.wanted_R[0], fifth.most_R[0], num_auc)
    return dict(zip(RANKING, map(float, numbers), strict=True))


def pairwise_accuracy(scores: ArrayLike, labels: ArrayLike) -> Measure:
    """The share of pairs with different labels whose scores are in the same order; equal scores count half."""
    tau = krocc(scores, labels)
    if tau.reason:
        return tau
    return _measure(scores, labels, lambda sample, by_score: _in_order(np.array([tau.value]), sample, by_score))


def _in_order(krocc_R: Vector, sample: Resamples, by_score: Ranked) -> Vector:
    """From tau-b, whose numerator counts the same pairs: concordant less discordant ones."""
    return np.asarray((1 + krocc_R * np.sqrt(by_score.untied_pairs() / sample.untied_R)) / 2)


def precision_at(scores: ArrayLike, labels: ArrayLike, *, selected: float, wanted: float) -> Measure:
    """The share of the selected items, those of highest score, that are wanted ones, those of highest label."""
    return _measure(scores, labels, _precision(selected=selected, wanted=wanted))


def recall_at(scores: ArrayLike, labels: ArrayLike, *, selected: float, wanted: float) -> Measure:
    """The share of the wanted items that are selected. With equal shares and no tied labels it is the precision."""
    return _measure(scores, labels, _recall(selected=selected, wanted=wanted))


def auc_of_top(scores: ArrayLike, labels: ArrayLike, *, wanted: float) -> Measure:
    """The chance that a wanted item has a higher score than another one; equal scores count half (Mann-Whitney)."""
    return _measure(scores, labels, _auc(wanted=wanted))


def ndcg_at(scores: ArrayLike, labels: ArrayLike, *, selected: float) -> Measure:
    """Normalised discounted cumulative gain of the selected items (Järvelin and Kekäläinen 2002).

    The gain is the label less the lowest one, the discount log2(1 + rank); equal scores share their gain and their
    ranks (McSherry and Najork 2008). So the label's unit and zero do not matter, nor the order of the items.
    """
    return _measure(scores, labels, _ndcg(selected=selected))


SHOWN: dict[str, Draws] = {
    "precision_10": _precision(selected=0.1, wanted=0.1),
    "precision_20": _precision(selected=0.2, wanted=0.2),
    "recall_10_in_20": _recall(selected=0.2, wanted=0.1),
    "ndcg_20": _ndcg(selected=0.2),
    "auc_20": _auc(wanted=0.2),
}
RANKING: dict[str, Callable[[ArrayLike, ArrayLike], Measure]] = {
    "pairwise": pairwise_accuracy,
    **{name: lambda scores, labels, draws=draws: _measure(scores, labels, draws) for name, draws in SHOWN.items()},  # type: ignore[misc]
}


def ranking_draws(
    scores_SN: Sequence[Vector],
    labels_N: Vector,
    krocc_SR: Sequence[Vector],
    *,
    groups: Groups | None = None,
    seed: int = 0,
    told: Callable[[int], object] = int,
) -> list[dict[str, Vector]]:
    """Draws [R] of every measure of `RANKING`, for each of several predictions of the same items.

    krocc_SR: Kendall's tau in the same resamples, as `bootstrap` draws it with this seed and these groups. told: is
    handed how many resamples are done, again and again.
    """
    order_N, num_resamples, done = np.argsort(labels_N, kind="stable"), len(krocc_SR[0]), 0
    sorted_N = labels_N[order_N]
    labels, scores = Falling(sorted_N), [Falling(scores_N[order_N]) for scores_N in scores_SN]
    exist = [not obstacle(scores_N, labels_N) for scores_N in scores_SN]
    draws = [{name: np.full(num_resamples, math.nan) for name in RANKING} for _ in scores_SN]
    for counts_RN in item_counts(labels_N, groups, num_resamples=num_resamples, seed=seed):
        sample, chunk = Resamples(counts_RN, sorted_N, labels), slice(done, done := done + len(counts_RN))
        for place in np.flatnonzero(exist).tolist():
            drawn = _all_draws(sample, Ranked.of(counts_RN, scores[place]), krocc_SR[place][chunk])
            for name, values_R in drawn.items():
                draws[place][name][chunk] = values_R
        told(done)
    return draws


def _all_draws(sample: Resamples, by_score: Ranked, krocc_R: Vector) -> dict[str, Vector]:
    is_constant_R = (by_score.sizes_RG.max(axis=1) == sample.num_R) | (sample.untied_R == 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # where all drawn items have one label
        draws = {"pairwise": _in_order(krocc_R, sample, by_score)}
        draws |= {name: function(sample, by_score) for name, function in SHOWN.items()}
    return {name: np.where(is_constant_R, math.nan, values_R) for name, values_R in draws.items()}
