"""What an ensemble gains over its best member, where the same labels must say which member that is.

The best of several members on some labels is too good on these: it is chosen out of fold, as weights are fitted. Its
choice is a part of the chance: with the member that stands for each fold held fixed the bootstrap's error of the gain
is too small, and with the member chosen anew in each resample it is too large, because the members' differences then
hold the chance of the items twice. The truth lies between: in simulations (docs/statistics.md) 0.1 to 0.5 of the way
from the first variance to the second.

# N items, M members, R resamples, F folds
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evqa.ensembling.fitting import Places, best_member, on_labels_scale, standardised
from evqa.ensembling.members import Matrix, Vector
from evqa.metrics import Difference, Groups, bootstrap, challenge, count_groups, interval, smallest_detectable
from evqa.metrics.resampling import LEVEL, draws_of, item_counts

NUM_RESAMPLES = 500  # for a standard error
CHOICE = 0.25  # the part of the way that is taken: intervals then hold the true gain in 92 to 98 % of cases
ROUNDING = 1e-12  # members that are copies differ by less
FEW = "too few items or groups to choose the best member by others than it is compared on"


@dataclass(frozen=True, kw_only=True)
class BestMember:
    """The best member as it is known without the labels that it is compared on.

    scores_N: in the labels' scale; None without folds (too few items). held_R, anew_R: draws of its challenge score
    with the choice held fixed and made anew in each resample.
    """

    labels_N: Vector
    groups: Groups | None
    scores_N: Vector | None = None
    held_R: Vector
    anew_R: Vector

    def gain(self, scores_N: Vector) -> Difference:
        """Challenge score of an honest ensemble over this one; interval and p are of Student's t."""
        if self.scores_N is None:
            return _without(FEW)
        one, other = challenge(scores_N, self.labels_N), challenge(self.scores_N, self.labels_N)
        ensemble_R = bootstrap(
            scores_N, self.labels_N, metrics=("challenge",), num_resamples=NUM_RESAMPLES, groups=self.groups
        )["challenge"]
        draws = [ensemble_R - best_R for best_R in (self.held_R, self.anew_R)]
        reason = one.reason or other.reason or interval(draws[0]).reason or interval(draws[1]).reason
        if reason:
            return _without(reason)
        num_units = count_groups(self.groups) or len(self.labels_N)
        held, anew = (float(np.nanvar(draws_R, ddof=1)) * num_units / (num_units - 1) for draws_R in draws)
        error = math.sqrt((1 - CHOICE) * held + CHOICE * anew)
        return _difference(_rounded(one.value - other.value), _rounded(error), freedom=num_units - 1)


def best_out_of_fold(
    scores_NM: Matrix, labels_N: Vector, *, folds: list[Places], groups: Groups | None = None
) -> BestMember:
    """Choose the best member for each fold by the other items. No folds: there is none."""
    if not folds:
        return BestMember(labels_N=labels_N, groups=groups, held_R=np.empty(0), anew_R=np.empty(0))
    standard_NM, chosen_N = standardised(scores_NM), np.zeros_like(labels_N)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(labels_N)), fold)
        chosen_N[fold] = standard_NM[fold, best_member(standard_NM[rest], labels_N[rest])]
    best_N = on_labels_scale(chosen_N, labels_N)
    held_R = bootstrap(best_N, labels_N, metrics=("challenge",), num_resamples=NUM_RESAMPLES, groups=groups)
    anew_R = _chosen_anew(standard_NM, labels_N, folds=folds, groups=groups)
    return BestMember(labels_N=labels_N, groups=groups, scores_N=best_N, held_R=held_R["challenge"], anew_R=anew_R)


def _without(reason: str) -> Difference:
    none = math.nan
    return Difference(value=none, low=none, high=none, p=none, standard_error=none, detectable=none, reason=reason)


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


def _rounded(value: float) -> float:
    return 0.0 if abs(value) < ROUNDING else value


def _chosen_anew(standard_NM: Matrix, labels_N: Vector, *, folds: list[Places], groups: Groups | None) -> Vector:
    """Draws [R] of the challenge score, each with the members that are best in its own resample."""
    order = np.argsort(labels_N, kind="stable")
    place_N = np.argsort(order)
    chunks = item_counts(labels_N, groups, num_resamples=NUM_RESAMPLES, seed=0)
    in_order = [place_N[fold] for fold in folds]
    drawn = [_chosen_in(counts_RN, standard_NM[order], labels_N[order], in_order) for counts_RN in chunks]
    return np.concatenate(drawn)


def _chosen_in(counts_RN: Matrix, standard_NM: Matrix, labels_N: Vector, folds: list[Places]) -> Vector:
    choices_RF = np.zeros((len(counts_RN), len(folds)), dtype=np.intp)
    for number, fold in enumerate(folds):
        rest_RN = counts_RN.copy()
        rest_RN[:, fold] = 0
        scores_MR = [draws_of(rest_RN, member_N, labels_N, metric="challenge") for member_N in standard_NM.T]
        choices_RF[:, number] = np.argmax(np.nan_to_num(scores_MR, nan=-2), axis=0)
    found_R, mixed_N = np.empty(len(counts_RN)), np.empty_like(labels_N)
    for choice_F in np.unique(choices_RF, axis=0):
        for fold, member in zip(folds, choice_F, strict=True):
            mixed_N[fold] = standard_NM[fold, member]
        rows = np.flatnonzero((choices_RF == choice_F).all(axis=1))
        found_R[rows] = draws_of(counts_RN[rows], mixed_N, labels_N, metric="challenge")
    return found_R
