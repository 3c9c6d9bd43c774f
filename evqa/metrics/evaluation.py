"""Everything that is said about one prediction: five metrics with intervals, counts, failures, the fitted extra.

# N items
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evqa.files.plain import plain
from evqa.metrics.correlation import METRICS, Measure, Vector, as_vectors
from evqa.metrics.groups import Groups, count_groups
from evqa.metrics.intervals import METHOD, estimate_interval
from evqa.metrics.logistic import fit_four, fit_increasing
from evqa.metrics.resampling import LEVEL, NUM_RESAMPLES, bootstrap
from evqa.types import Failure

NOT_RESAMPLED = "no interval: the curve is not fitted again in each resample"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric and the ends of its interval, each NaN where it does not exist; `reason` says why."""

    value: float
    low: float
    high: float
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of one prediction.

    n: items with a score and a label, which the metrics are of. num_groups: the groups that these items form, which are
    drawn as a whole; None where no item belongs to one, so that items are drawn. num_failed: items that gave no score.
    num_unlabelled: items with a score and no label. metrics: srocc, plcc, krocc, rmse, challenge on raw scores.
    extras: plcc_fitted and rmse_fitted, after an increasing five-parameter logistic curve; plcc_fitted_4 and
    rmse_fitted_4, after the four-parameter one of the field's tables. level, num_resamples, seed belong to the
    intervals (`evqa.metrics.intervals`).
    """

    n: int
    num_failed: int
    num_unlabelled: int
    metrics: Mapping[str, Estimate]
    extras: Mapping[str, Estimate]
    failures: tuple[Failure, ...] = ()
    num_groups: int | None = None
    level: float = LEVEL
    num_resamples: int = NUM_RESAMPLES
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes null, because JSON has no NaN."""
        return {
            "n": self.n,
            "num_groups": self.num_groups,
            "num_failed": self.num_failed,
            "num_unlabelled": self.num_unlabelled,
            "failures": plain_failures(self.failures),
            "metrics": {name: _plain(estimate) for name, estimate in self.metrics.items()},
            "extras": {name: _plain(estimate) for name, estimate in self.extras.items()},
            "interval": {
                "method": METHOD,
                "resampled": "items" if self.num_groups is None else "groups",
                "level": self.level,
                "num_resamples": self.num_resamples,
                "seed": self.seed,
            },
        }


def plain_failures(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Plain values for a JSON file."""
    return [{key: value for key, value in asdict(failure).items() if value is not None} for failure in failures]


def evaluate(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    groups: Groups | None = None,
    failures: Sequence[Failure] = (),
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    fitted: bool = True,
) -> Evaluation:
    """Evaluate scores [N] against labels [N], both in the label's own scale.

    groups: the group of each item (near copies, a creator), None for an item without one; groups are resampled whole.
    Items whose label is NaN are counted and left out. A score that is not finite makes every metric NaN with that
    reason: a broken score is never dropped in silence. `num_resamples=0` draws no intervals.
    Raises ValueError where the two are not vectors of one length.
    """
    scores_N, labels_N = as_vectors(scores, labels)
    labelled_N = ~np.isnan(labels_N)
    scores_N, labels_N = scores_N[labelled_N], labels_N[labelled_N]
    groups = groups and [groups[place] for place in np.flatnonzero(labelled_N).tolist()]
    return Evaluation(
        n=len(scores_N),
        num_failed=len(failures),
        num_unlabelled=int((~labelled_N).sum()),
        metrics=_estimates(scores_N, labels_N, groups=groups, num_resamples=num_resamples, seed=seed),
        extras=_fitted(scores_N, labels_N) if fitted else {},
        failures=tuple(failures),
        num_groups=count_groups(groups),
        num_resamples=num_resamples,
        seed=seed,
    )


def _estimates(
    scores_N: Vector, labels_N: Vector, *, groups: Groups | None, num_resamples: int, seed: int
) -> dict[str, Estimate]:
    draws = bootstrap(scores_N, labels_N, groups=groups, num_resamples=num_resamples, seed=seed)
    num_units = count_groups(groups) or len(labels_N)
    estimates = {}
    for name, function in METRICS.items():
        measure = function(scores_N, labels_N)
        ends = estimate_interval(name, measure.value, draws[name], num_units=num_units)
        reason = measure.reason or ends.reason
        low, high = (math.nan, math.nan) if measure.reason else (ends.low, ends.high)
        estimates[name] = Estimate(value=measure.value, low=low, high=high, reason=reason)
    return estimates


def _fitted(scores_N: Vector, labels_N: Vector) -> dict[str, Estimate]:
    fits = {"fitted": fit_increasing(scores_N, labels_N), "fitted_4": fit_four(scores_N, labels_N)}
    measures = [(f"{metric}_{name}", getattr(fit, metric)) for name, fit in fits.items() for metric in ("plcc", "rmse")]
    return {name: _without_interval(measure) for name, measure in measures}


def _without_interval(measure: Measure) -> Estimate:
    return Estimate(value=measure.value, low=math.nan, high=math.nan, reason=measure.reason or NOT_RESAMPLED)


def _plain(estimate: Estimate) -> dict[str, float | str | None]:
    numbers: dict[str, float | str | None] = plain(
        {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    )
    return numbers | ({"reason": estimate.reason} if estimate.reason else {})
