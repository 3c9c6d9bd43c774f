"""What an ensemble is worth: honest score, gain over the best member, what each member adds, how errors correlate.

# N items, M members
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evqa.ensembling.combination import METHODS, Combination, Method, equal
from evqa.ensembling.fitting import Places, best_member, constant, fit, out_of_fold
from evqa.ensembling.gain import Again, BestMember, Division, best_out_of_fold
from evqa.ensembling.members import Matrix, Members, Vector
from evqa.errors import AnnotationError
from evqa.files.plain import plain
from evqa.metrics import Difference, Evaluation, Groups, evaluate, paired_difference
from evqa.metrics.correlation import is_constant


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How good a combination is, on labels that its weights were not fitted on.

    scores_N: the honest prediction (out of fold where weights were fitted). honest: what makes it so, a sentence.
    fitted: the weights of all items scored on the same items; None where nothing was fitted. Too good by construction.
    best: the best member on these labels. chosen: the best member, chosen out of fold; None where there are too few
    items. gain: challenge score over that of `chosen`. added: for each member, challenge score with it less that
    without it (weights fitted anew). methods: the honest score and the gain of every method that these items suffice
    for; empty for weights from a file.
    """

    scores_N: Vector
    honest: str
    members: tuple[Evaluation, ...]
    ensemble: Evaluation
    fitted: Evaluation | None
    best: str
    chosen: Evaluation | None
    gain: Difference
    added: tuple[Difference, ...]
    error_correlation_MM: Matrix
    methods: Mapping[Method, tuple[Evaluation, Difference]]

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null."""
        return {
            "honest": self.honest,
            "members": [evaluation.to_json() for evaluation in self.members],
            "ensemble": self.ensemble.to_json(),
            "fitted_on_the_same_labels": self.fitted.to_json() if self.fitted else None,
            "best_member": self.best,
            "best_member_chosen_out_of_fold": self.chosen.to_json() if self.chosen else None,
            "gain": plain(asdict(self.gain)),
            "methods": {
                name: {"ensemble": evaluation.to_json(), "gain": plain(asdict(gain))}
                for name, (evaluation, gain) in self.methods.items()
            },
            "added_by_each_member": [plain(asdict(difference)) for difference in self.added],
            "error_correlation": plain(self.error_correlation_MM.tolist()),
        }


def judge(
    method: Method,
    scores_NM: Matrix,
    labels_N: Vector,
    *,
    names: Sequence[str],
    groups: Groups | None = None,
    num_folds: int = 5,
    seed: int = 0,
    watch: Callable[[Sequence[list[int]]], Iterable[list[int]]] = iter,
) -> tuple[Combination, Judgement]:
    """Fit on all items and judge by cross-validation, groups kept together.

    watch: is handed the members of each ensemble that is judged. Raises AnnotationError where labels or members do not
    suffice.
    """
    if len(labels_N) == 0 or is_constant(labels_N):
        raise AnnotationError(f"{len(labels_N)} labels without any difference cannot judge an ensemble.")

    division = Division(groups=groups, num_folds=num_folds, seed=seed)
    everyone = list(range(len(names)))
    without_one = [[other for other in everyone if other != column] for column in everyone]
    scores_N, *others = [
        honest_scores(method, scores_NM[:, columns], labels_N, division) for columns in watch([everyone, *without_one])
    ]
    best = best_out_of_fold(scores_NM, labels_N, division)
    if method == "mean" or method == "rank_mean":
        combination, fitted, honest = alike(method, scores_NM, names=names), None, "no weight is fitted"
    else:
        combination = fit(method, scores_NM, labels_N, names=names, groups=groups, seed=seed)
        fitted = evaluate(combination.apply(scores_NM), labels_N, groups=groups, fitted=False)
        honest = f"out of fold, nested {num_folds}-fold cross-validation"
    methods = _methods(scores_NM, best, division, known={method: scores_N})
    judgement = _judgement(
        scores_N,
        others,
        scores_NM,
        best,
        gain=methods[method][1],
        names=names,
        fitted=fitted,
        honest=honest,
        methods=methods,
    )
    return combination, judgement


def honest_scores(method: Method, scores_NM: Matrix, labels_N: Vector, division: Division) -> Vector:
    """Scores [N] of a method, each from weights that have not seen its label. Raises AnnotationError: too few items."""
    if method == "mean" or method == "rank_mean":
        return alike(method, scores_NM, names=[str(place) for place in range(scores_NM.shape[1])]).apply(scores_NM)
    return out_of_fold(method, scores_NM, labels_N, **vars(division))


def made_anew(method: Method, scores_NM: Matrix, labels_N: Vector, division: Division) -> Again:
    """The honest scores of a method as a function of places and a seed: fitted in these items alone."""

    def scores_of(places_K: Places, seed: int) -> Vector:
        return honest_scores(method, scores_NM[places_K], labels_N[places_K], division.of(places_K, labels_N, seed))

    return scores_of


def _methods(
    scores_NM: Matrix, best: BestMember, division: Division, *, known: Mapping[Method, Vector]
) -> dict[Method, tuple[Evaluation, Difference]]:
    """Judge every method that the items suffice for. known: honest scores that are there already."""
    judged = dict[Method, tuple[Evaluation, Difference]]()
    for method in METHODS:
        try:
            scores_N = known[method] if method in known else honest_scores(method, scores_NM, best.labels_N, division)
        except AnnotationError:
            continue
        judged[method] = _judged(method, scores_N, scores_NM, best, division)
    return judged


def _judged(
    method: Method, scores_N: Vector, scores_NM: Matrix, best: BestMember, division: Division
) -> tuple[Evaluation, Difference]:
    again = made_anew(method, scores_NM, best.labels_N, division)
    return evaluate(scores_N, best.labels_N, groups=best.groups, fitted=False), best.gain(scores_N, again=again)


def alike(method: Method, scores_NM: Matrix, *, names: Sequence[str]) -> Combination:
    """The combination that needs no labels; constant members tell nothing and have weight 0."""
    assert method == "mean" or method == "rank_mean"
    flat_M = constant(scores_NM)
    return equal(method, names, without=[name for name, flat in zip(names, flat_M, strict=True) if flat])


def prediction(members: Members, combination: Combination, judgement: Judgement | None) -> Vector:
    """Scores [N] to be written: of the combination, but out of fold for items whose labels its weights were fitted on.

    So that a written file has the score that was shown for it, whoever evaluates it.
    """
    scores_N = combination.apply(members.scores_NM)
    if judgement is not None and judgement.fitted is not None and members.labels_N is not None:
        scores_N[~np.isnan(members.labels_N)] = judgement.scores_N
    return scores_N


def judge_given(
    combination: Combination,
    scores_NM: Matrix,
    labels_N: Vector,
    *,
    same_labels: bool,
    groups: Groups | None = None,
    num_folds: int = 5,
    seed: int = 0,
) -> Judgement:
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
    division = Division(groups=groups, num_folds=num_folds, seed=seed)
    best = best_out_of_fold(scores_NM, labels_N, division)
    return _judgement(
        scores_N,
        without,
        scores_NM,
        best,
        gain=best.gain(scores_N, again=lambda places_K, _: combination.apply(scores_NM[places_K])),
        names=combination.members,
        fitted=None,
        honest=honest,
        methods={},
    )


def _judgement(
    scores_N: Vector,
    without: Sequence[Vector],
    scores_NM: Matrix,
    best: BestMember,
    *,
    gain: Difference,
    names: Sequence[str],
    fitted: Evaluation | None,
    honest: str,
    methods: Mapping[Method, tuple[Evaluation, Difference]],
) -> Judgement:
    labels_N, groups = best.labels_N, best.groups

    def evaluated(one_N: Vector) -> Evaluation:
        return evaluate(one_N, labels_N, groups=groups, fitted=False)

    return Judgement(
        scores_N=scores_N,
        honest=honest,
        members=tuple(map(evaluated, scores_NM.T)),
        ensemble=evaluated(scores_N),
        fitted=fitted,
        best=names[best_member(scores_NM, labels_N)],
        chosen=None if best.scores_N is None else evaluated(best.scores_N),
        gain=gain,
        added=tuple(paired_difference(scores_N, other_N, labels_N, groups=groups) for other_N in without),
        error_correlation_MM=error_correlation(scores_NM, labels_N),
        methods=methods,
    )


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
