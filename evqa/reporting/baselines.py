"""What an item's length, its title, its row or the mean label alone would score: no model, and no video is opened.

A label that the length tells makes a high correlation cheap, and one that the order of rows tells is a leak: files that
are sorted or numbered by their label, for instance. The sign is taken as it is; a baseline with a correlation of -0.5
orders the items as well as one of 0.5.

# N items, K items that have the fact
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evqa.config.metric_names import PRINTED
from evqa.metrics import METRICS, Estimate, bootstrap, count_groups, estimate_interval
from evqa.metrics.correlation import Vector
from evqa.metrics.groups import Groups
from evqa.metrics.paired import two_sided_p
from evqa.reporting.comparing import MIN_ITEMS
from evqa.reporting.document import TableBlock
from evqa.reporting.runs import Item
from evqa.reporting.sentences import ends, number, p_equals
from evqa.reporting.slices import Slice, score_slice
from evqa.reporting.study import Study
from evqa.reporting.text_ridge import TextScores

MEAN, TEXT, ROW_ORDER = "mean label", "text", "row order"
FACTS: dict[str, Callable[[Item], float | None]] = {
    "duration": lambda item: item.duration,
    "title length": lambda item: item.title_chars,
    ROW_ORDER: lambda item: item.row,
}
CORRELATIONS = ("srocc", "plcc")
NUM_RESAMPLES = 1000
LEAK_P = 0.001  # of the row order: every report looks, so that one in a thousand says so by chance


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One fact as a score of the n items that have it.

    metrics: SROCC and PLCC, of the mean label RMSE. compared: the metric that `best`, the best setting on the same
    items, is given in. leak_p: that the order of rows has no rank correlation with the label; NaN of other facts.
    fitted: how many other items it was fitted on; None of what needs no training.
    """

    name: str
    n: int
    metrics: Mapping[str, Estimate]
    compared: str = "srocc"
    best: Estimate
    leak_p: float = math.nan
    fitted: int | None = None

    @property
    def reaches(self) -> bool:
        """Whether it is as good as the worse end of the best setting's interval."""
        value = self.metrics[self.compared].value
        return value <= self.best.high if self.compared == "rmse" else abs(value) >= self.best.low


def baselines(study: Study, texts: TextScores | None = None) -> tuple[Baseline, ...]:
    """The mean label, every fact that at least one item has, and a regression on texts where there is one."""
    if not study.ids:
        return ()
    found = [_of_fact(study, name, fact) for name, fact in FACTS.items()]
    if texts is not None:
        found.insert(-1, _of_texts(study, texts))
    return _of_mean(study), *(one for one in found if one is not None)


def _of_mean(study: Study) -> Baseline:
    scores_N = np.full(len(study.labels_N), study.labels_N.mean())
    rmse = _estimates(scores_N, study.labels_N, study.groups, metrics=("rmse",))
    return Baseline(name=MEAN, n=len(scores_N), metrics=rmse, compared="rmse", best=_whole(study, "rmse"))


def _of_fact(study: Study, name: str, fact: Callable[[Item], float | None]) -> Baseline | None:
    values_N = np.array([math.nan if (value := fact(item)) is None else value for item in study.items], dtype=float)
    places_K = np.flatnonzero(np.isfinite(values_N))
    if not len(places_K):
        return None
    values_K, labels_K = values_N[places_K], study.labels_N[places_K]
    all_groups = study.groups
    groups = [all_groups[place] for place in places_K.tolist()]
    return Baseline(
        name=name,
        n=len(places_K),
        metrics=_estimates(values_K, labels_K, groups, metrics=CORRELATIONS),
        best=_whole(study, "srocc") if len(places_K) == len(study.ids) else _on(study, places_K),
        leak_p=_p(values_K, labels_K, groups) if name == ROW_ORDER else math.nan,
    )


def _of_texts(study: Study, texts: TextScores) -> Baseline:
    metrics = _estimates(texts.scores_N, study.labels_N, study.groups, metrics=(*CORRELATIONS, "rmse"))
    return Baseline(name=TEXT, n=len(study.ids), metrics=metrics, best=_whole(study, "srocc"), fitted=texts.num_fitted)


def _estimates(scores_K: Vector, labels_K: Vector, groups: Groups, *, metrics: Sequence[str]) -> dict[str, Estimate]:
    draws = bootstrap(scores_K, labels_K, metrics=metrics, num_resamples=NUM_RESAMPLES, groups=groups)
    num_units, found = count_groups(groups) or len(groups), dict[str, Estimate]()
    for name in metrics:
        measure = METRICS[name](scores_K, labels_K)
        ends = estimate_interval(name, measure.value, draws[name], num_units=num_units)
        reason = measure.reason or ends.reason
        found[name] = Estimate(value=measure.value, low=ends.low, high=ends.high, reason=reason)
    return found


def _whole(study: Study, metric: str) -> Estimate:
    pooled = study.best.metrics[metric]
    return Estimate(value=pooled.mean, low=pooled.low, high=pooled.high, reason=pooled.reason)


def _on(study: Study, places_K: NDArray[np.intp]) -> Estimate:
    (score,) = score_slice(study, [study.best], Slice(family="", name="", places_K=places_K))
    return Estimate(value=score.srocc, low=score.interval.low, high=score.interval.high, reason=score.interval.reason)


def _p(values_K: Vector, labels_K: Vector, groups: Groups) -> float:
    draws_R = bootstrap(values_K, labels_K, metrics=("srocc",), num_resamples=NUM_RESAMPLES, groups=groups)["srocc"]
    return two_sided_p(draws_R) if np.isfinite(draws_R).all() else math.nan


def baseline_sentences(study: Study, found: Sequence[Baseline]) -> list[str]:
    """What reaches the best setting, and whether the order of rows tells the label; nothing of fewer than 30 units."""
    told = [one for one in found if _num_units(study, one) >= MIN_ITEMS]
    said = [_reached(study, one) for one in told if one.reaches]
    leaks = [one for one in told if one.leak_p < LEAK_P]
    return [*said, *(_leak(one) for one in leaks)]


def _num_units(study: Study, one: Baseline) -> int:
    return study.num_units if one.n == len(study.ids) else min(one.n, study.num_units)


def _reached(study: Study, one: Baseline) -> str:
    name, own = PRINTED[one.compared], with_ends(one.metrics[one.compared], sign="" if one.compared == "rmse" else "+")
    meaning = (
        "its scores are not shown to be nearer to the labels than one constant is"
        if one.compared == "rmse"
        else f"its ranking is not shown to be better than by the {one.name}"
    )
    return (
        f"Baseline: the {one.name} alone has {name} {own}, which reaches the interval of {study.best.name}, "
        f"{with_ends(one.best)}: {meaning}."
    )


def _leak(one: Baseline) -> str:
    return (
        f"Possible leak: the order of rows tells the label, SROCC {with_ends(one.metrics['srocc'], sign='+')}, "
        f"{p_equals(one.leak_p)}. Check that the names, numbers or sizes of files do not, and that rows of one source "
        "do not stand together."
    )


def with_ends(one: Estimate, *, sign: str = "") -> str:
    """`0.812 [0.790, 0.831]`."""
    return f"{one.value:{sign}.3f} [{one.low:{sign}.3f}, {one.high:{sign}.3f}]"


def baselines_table(study: Study, found: Sequence[Baseline]) -> TableBlock:
    """One row a baseline, and the best setting beside it."""
    rows = tuple(
        (
            one.name,
            str(one.n),
            *(cell for name in CORRELATIONS for cell in _cells(one.metrics.get(name), sign="+")),
            *_cells(one.metrics.get("rmse")),
            f"{PRINTED[one.compared]} {number(one.best.value)}",
            *([_reason(one)] if any(map(_reason, found)) else []),
        )
        for one in found
    )
    columns = ("baseline", "n", "SROCC", "95 % interval", "PLCC", "95 % interval", "RMSE", "95 % interval")
    why = ("why not",) if any(map(_reason, found)) else ()
    fitted, run = next((one.fitted for one in found if one.fitted is not None), None), study.best.runs[0].name
    text = (
        f" Text: ridge regression on pieces of title and description, fitted on {fitted} other items of {run}'s tables."
    )
    return TableBlock(
        columns=(*columns, "best setting", *why),
        rows=rows,
        caption=f"What needs no video, beside {study.best.name} on the same items. Row order: the position in the file "
        f"of targets. The mean is that of these labels: no other constant has a lower RMSE.{text if fitted else ''}",
    )


def _cells(one: Estimate | None, *, sign: str = "") -> tuple[str, str]:
    return ("-", "-") if one is None else (number(one.value, sign=sign), ends(one.low, one.high, sign=sign))


def _reason(one: Baseline) -> str:
    """Why a correlation does not exist: the only obstacles here are facts without spread, and too few items."""
    reason = next((metric.reason for metric in one.metrics.values() if metric.reason), None)
    return (reason or "").replace("scores", "values")
