"""The interval of the best setting, which was searched for on the items of its score.

The highest of k scores is on average above its own true one. The lower end here holds for whichever setting wins: it
comes from the largest standardised error among all k in each resample of the items (a one-sided simultaneous bound;
Berk et al. 2013, Annals of Statistics 41, name the idea: what holds for all holds for the chosen one). The upper end is
that of a single setting, for a search can only raise the winner.

# K settings, R resamples
"""

from __future__ import annotations

import math

import numpy as np

from evqa.metrics import Interval
from evqa.metrics.correlation import Vector
from evqa.metrics.resampling import LEVEL
from evqa.reporting.study import Matrix, Study

LARGEST = 1 - 1e-9  # correlation, for a finite z


def winner_interval(study: Study) -> Interval | None:
    """The interval over items of the best setting's score; None where nothing was searched or there is no interval."""
    settings = [one for one in study.settings if math.isfinite(one.metrics[study.metric].low)]
    if not study.ids or len(settings) < 2 or settings[0] is not study.best:
        return None
    draws_KR = np.array([one.mean_draws(study.metric) for one in settings])
    return of_draws(study.best.metrics[study.metric].mean, draws_KR)


def of_draws(value: float, draws_KR: Matrix) -> Interval:
    """The winner's interval from its value and the paired draws of all settings, its own first.

    Errors are measured on Fisher's z scale, on which those of correlations are alike everywhere.
    """
    z_KR = np.arctanh(np.clip(draws_KR, -LARGEST, LARGEST))
    centred_KR = z_KR - np.nanmean(z_KR, axis=1, keepdims=True)
    errors_K: Vector = np.nanstd(z_KR, axis=1, ddof=1)
    varies_K = errors_K > 0
    if not varies_K[0]:
        return Interval(low=value, high=value)
    standardised_KR = centred_KR[varies_K] / errors_K[varies_K, None]
    known_R = ~np.isnan(standardised_KR).all(axis=0)  # a resample of few items may have no correlation at all
    largest_R = np.nanmax(standardised_KR[:, known_R], axis=0)
    z, rank = math.atanh(min(max(value, -LARGEST), LARGEST)), (1 + LEVEL) / 2
    low, high = z - errors_K[0] * np.nanquantile(largest_R, rank), z - np.nanquantile(centred_KR[0], 1 - rank)
    return Interval(low=math.tanh(low), high=math.tanh(high))
