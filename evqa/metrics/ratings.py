"""Errors against labels that are means of ratings, which have an uncertainty of their own (ITU-T P.1401, 01/2020).

# N items
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from evqa.metrics.correlation import Measure, Vector, as_vectors, obstacle
from evqa.metrics.groups import Groups
from evqa.metrics.resampling import LEVEL, NUM_RESAMPLES, item_counts


def rating_half_widths(label_sds: ArrayLike, num_ratings: ArrayLike) -> Vector:
    """Half of each label's 95 % interval [N], from the SD of its ratings and how many (at least two) they are."""
    from scipy import stats

    counts_N = np.asarray(num_ratings, dtype=np.float64)
    quantile_N = stats.t.ppf((1 + LEVEL) / 2, counts_N - 1)
    return np.asarray(quantile_N * np.asarray(label_sds, dtype=np.float64) / np.sqrt(counts_N))


def outlier_ratio(scores: ArrayLike, labels: ArrayLike, half_widths: ArrayLike) -> Measure:
    """The share of items whose score lies outside their label's interval (P.1401, 7.5.2.2)."""
    errors_N, reason = _errors(scores, labels, half_widths)
    return Measure(value=math.nan if reason else float((errors_N > 0).mean()), reason=reason)


def rmse_star(scores: ArrayLike, labels: ArrayLike, half_widths: ArrayLike, *, num_parameters: int = 1) -> Measure:
    """RMSE that counts only what an error exceeds its label's interval by (P.1401, 7.7), in the label's own scale.

    num_parameters: degrees of freedom that are taken off the number of items; P.1401 takes one for raw scores, and
    those of the curve for scores that a curve was fitted to.
    """
    errors_N, reason = _errors(scores, labels, half_widths)
    if not reason and len(errors_N) <= num_parameters:
        reason = f"needs more than {num_parameters} items, got {len(errors_N)}"
    value = math.nan if reason else math.sqrt((errors_N**2).sum() / (len(errors_N) - num_parameters))
    return Measure(value=value, reason=reason)


def rating_draws(
    scores: ArrayLike,
    labels: ArrayLike,
    half_widths: ArrayLike,
    *,
    num_parameters: int = 1,
    groups: Groups | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Vector]:
    """Draws [R] of `outlier_ratio` and `rmse_star`, in the resamples of `evqa.metrics.bootstrap`."""
    errors_N, reason = _errors(scores, labels, half_widths)
    if reason:
        return {name: np.full(num_resamples, math.nan) for name in ("outlier_ratio", "rmse_star")}
    labels_N = np.asarray(labels, dtype=np.float64)
    errors_N = errors_N[np.argsort(labels_N, kind="stable")]
    sums = [
        (counts_RN @ (errors_N > 0), counts_RN @ errors_N**2, counts_RN.sum(axis=1))
        for counts_RN in item_counts(labels_N, groups, num_resamples=num_resamples, seed=seed)
    ]
    outside_R, squares_R, num_R = (np.concatenate(parts) for parts in zip(*sums, strict=True))
    freedom_R = np.where(num_R > num_parameters, num_R - num_parameters, math.nan)
    return {"outlier_ratio": outside_R / num_R, "rmse_star": np.sqrt(squares_R / freedom_R)}


def _errors(scores: ArrayLike, labels: ArrayLike, half_widths: ArrayLike) -> tuple[Vector, str | None]:
    """What each error exceeds its label's interval by, 0 for those inside; and why there is no measure of them."""
    scores_N, labels_N = as_vectors(scores, labels)
    widths_N, _ = as_vectors(half_widths, labels)
    reason = obstacle(scores_N, labels_N, correlation=False)
    num_bad = int((~(np.isfinite(widths_N) & (widths_N >= 0))).sum())
    if not reason and num_bad:
        reason = f"{num_bad} of {len(widths_N)} half-widths are not finite or below 0"
    return np.maximum(np.abs(scores_N - labels_N) - widths_N, 0.0), reason
