"""SROCC, PLCC, KROCC, RMSE and the challenge score, with intervals and paired tests. NumPy and SciPy only."""

from evqa.metrics.correlation import METRICS, Measure, challenge, krocc, plcc, rmse, srocc
from evqa.metrics.evaluation import Estimate, Evaluation, evaluate
from evqa.metrics.groups import Groups, count_groups
from evqa.metrics.intervals import estimate_interval
from evqa.metrics.logistic import LogisticFit, fit_four, fit_increasing, fit_original
from evqa.metrics.paired import Difference, holm, paired_difference, smallest_detectable
from evqa.metrics.resampling import Interval, bootstrap, interval
from evqa.metrics.score_table import ScoreTable, read_labels, read_scores, write_scores

__all__ = [
    "METRICS",
    "Difference",
    "Estimate",
    "Evaluation",
    "Groups",
    "Interval",
    "LogisticFit",
    "Measure",
    "ScoreTable",
    "bootstrap",
    "challenge",
    "count_groups",
    "estimate_interval",
    "evaluate",
    "fit_four",
    "fit_increasing",
    "fit_original",
    "holm",
    "interval",
    "krocc",
    "paired_difference",
    "plcc",
    "read_labels",
    "read_scores",
    "rmse",
    "smallest_detectable",
    "srocc",
    "write_scores",
]
