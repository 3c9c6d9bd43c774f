"""What an ensemble is worth: honest score, gain over the best member, what each member adds, how errors correlate.

# N items, M members
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evqa.ensembling.combination import Combination, Method, equal
from evqa.ensembling.fitting import fit, out_of_fold
from evqa.ensembling.members import Matrix, Members, Vector
from evqa.errors import AnnotationError
from evqa.files.plain import plain
from evqa.metrics import Difference, Evaluation, bootstrap, challenge, evaluate, paired_difference
from evqa.metrics.correlation import is_constant
from evqa.metrics.paired import difference_of_draws


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How good a combination is, on labels that its weights were not fitted on.

    scores_N: the honest prediction (out of fold where weights were fitted). honest: what makes it so, a sentence.
    fitted: the weights of all items scored on the same items; None where nothing was fitted. Too good by construction.
    gain: challenge score over that of the single best member, the member fixed. gain_reselected: the same with the best
    member chosen anew in each resample; lower, because a maximum over resampled members is too high.
    added: for each member, challenge score with it less that without it (weights fitted anew).
    """

    scores_N: Vector
    honest: str
    members: tuple[Evaluation, ...]
    ensemble: Evaluation
    fitted: Evaluation | None
    best: str
    gain: Difference
    gain_reselected: Difference
    added: tuple[Difference, ...]
    error_correlation_MM: Matrix

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null."""
        return {
            "honest": self.honest,
            "members": [evaluation.to_json() for evaluation in self.members],
            "ensemble": self.ensemble.to_json(),
            "fitted_on_the_same_labels": self.fitted.to_json() if self.fitted else None,
            "best_member": self.best,
            "gain": plain(asdict(self.gain)),
            "gain_with_best_member_chosen_in_each_resample": plain(asdict(self.gain_reselected)),
            "added_by_each_member": [plain(asdict(difference)) for difference in self.added],
            "error_correlation": plain(self.error_correlation_MM.tolist()),
        }


def judge(
    method: Method,
    scores_NM: Matrix,
    labels_N: Vector,
    *,
    names: Sequence[str],
    num_folds: int = 5,
    seed: int = 0,
    watch: Callable[[Sequence[list[int]]], Iterable[list[int]]] = iter,
) -> tuple[Combination, Judgement]:
    """Fit on all items and judge by cross-validation. watch: is handed the members of each ensemble that is judged.

    Raises AnnotationError where labels or members do not suffice.
    """
    if len(labels_N) == 0 or is_constant(labels_N):
        raise AnnotationError(f"{len(labels_N)} labels without any difference cannot judge an ensemble.")

    def honest_scores(columns: Sequence[int]) -> Vector:
        picked, some = scores_NM[:, columns], [names[column] for column in columns]
        if method in ("mean", "rank_mean"):
            return equal(method, some).apply(picked)
        return out_of_fold(method, picked, labels_N, names=some, num_folds=num_folds, seed=seed)

    everyone = list(range(len(names)))
    without_one = [[other for other in everyone if other != column] for column in everyone]
    scores_N, *without = [honest_scores(columns) for columns in watch([everyone, *without_one])]
    if method in ("mean", "rank_mean"):
        combination, fitted, honest = equal(method, names), None, "no weight is fitted"
    else:
        combination = fit(method, scores_NM, labels_N, names=names, seed=seed)
        fitted = evaluate(combination.apply(scores_NM), labels_N, fitted=False)
        honest = f"out of fold, nested {num_folds}-fold cross-validation"
    judgement = _judgement(scores_N, without, scores_NM, labels_N, names=names, fitted=fitted, honest=honest)
    return combination, judgement


def prediction(members: Members, combination: Combination, judgement: Judgement | None) -> Vector:
    """Scores [N] to be written: of the combination, but out of fold for items whose labels its weights were fitted on.

    So that a written file has the score that was shown for it, whoever evaluates it.
    """
    scores_N = combination.apply(members.scores_NM)
    if judgement is not None and judgement.fitted is not None and members.labels_N is not None:
        scores_N[~np.isnan(members.labels_N)] = judgement.scores_N
    return scores_N


def judge_given(combination: Combination, scores_NM: Matrix, labels_N: Vector, *, same_labels: bool) -> Judgement:
    """Judge weights from a file on labels; `same_labels`: they are the ones that the weights were fitted on."""
    scores_N = combination.apply(scores_NM)
    without = []
    for column in range(scores_NM.shape[1]):
        silent_NM = scores_NM.copy()
        silent_NM[:, column] = scores_NM[:, column].mean()
        without.append(combination.apply(silent_NM))
    honest = (
        "NOT honest: the weights were fitted on these very labels"
        if same_labels
        else "weights from a file that was fitted on other labels"
    )
    return _judgement(scores_N, without, scores_NM, labels_N, names=combination.members, fitted=None, honest=honest)


def _judgement(
    scores_N: Vector,
    without: Sequence[Vector],
    scores_NM: Matrix,
    labels_N: Vector,
    *,
    names: Sequence[str],
    fitted: Evaluation | None,
    honest: str,
) -> Judgement:
    goodness = [np.nan_to_num(challenge(member_N, labels_N).value, nan=-2) for member_N in scores_NM.T]
    best = int(np.argmax(goodness))
    return Judgement(
        scores_N=scores_N,
        honest=honest,
        members=tuple(evaluate(member_N, labels_N, fitted=False) for member_N in scores_NM.T),
        ensemble=evaluate(scores_N, labels_N, fitted=False),
        fitted=fitted,
        best=names[best],
        gain=paired_difference(scores_N, scores_NM[:, best], labels_N),
        gain_reselected=_gain_reselected(scores_N, scores_NM, labels_N),
        added=tuple(paired_difference(scores_N, other_N, labels_N) for other_N in without),
        error_correlation_MM=error_correlation(scores_NM, labels_N),
    )


def _gain_reselected(scores_N: Vector, scores_NM: Matrix, labels_N: Vector) -> Difference:
    ensemble_R, *members_MR = (
        bootstrap(column_N, labels_N, metrics=("challenge",))["challenge"] for column_N in (scores_N, *scores_NM.T)
    )
    value = challenge(scores_N, labels_N).value - max(challenge(member_N, labels_N).value for member_N in scores_NM.T)
    return difference_of_draws(value, ensemble_R - np.fmax.reduce(members_MR))


def error_correlation(scores_NM: Matrix, labels_N: Vector) -> Matrix:
    """Correlation of the members' residuals after each is mapped to the labels by a line; NaN for constant members.

    Near 1: the members make the same mistakes, and combining them gains little.
    """
    residuals_MN = []
    for member_N in scores_NM.T:
        line = [0.0, 0.0] if is_constant(member_N) else np.polyfit(member_N - member_N.mean(), labels_N, 1)
        residuals_MN.append(labels_N - np.polyval(line, member_N - member_N.mean()))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(residuals_MN))
