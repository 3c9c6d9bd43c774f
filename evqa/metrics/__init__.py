"""Correlations, errors and measures of ranking, with intervals and paired tests. NumPy and SciPy only."""

from evqa.metrics.correlation import METRICS, Measure, challenge, krocc, plcc, rmse, srocc
from evqa.metrics.evaluation import Estimate, Evaluation, evaluate
from evqa.metrics.groups import Groups, count_groups
from evqa.metrics.intervals import estimate_interval, share_interval
from evqa.metrics.logistic import LogisticFit, fit_four, fit_increasing, fit_original
from evqa.metrics.paired import Difference, holm, paired_difference, smallest_detectable
from evqa.metrics.pairs import pairwise_by_gap
from evqa.metrics.ranking import RANKING, auc_of_top, ndcg_at, pairwise_accuracy, precision_at, recall_at
from evqa.metrics.ratings import outlier_ratio, rating_draws, rating_half_widths, rmse_star
from evqa.metrics.resampling import Interval, bootstrap, interval
from evqa.metrics.score_table import ScoreTable, read_labels, read_scores, write_scores

__all__ = [
    "METRICS",
    "RANKING",
    "Difference",
    "Estimate",
    "Evaluation",
    "Groups",
    "Interval",
    "LogisticFit",
    "Measure",
    "ScoreTable",
    "auc_of_top",
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
    "ndcg_at",
    "outlier_ratio",
    "paired_difference",
    "pairwise_accuracy",
    "pairwise_by_gap",
    "plcc",
    "precision_at",
    "rating_draws",
    "rating_half_widths",
    "read_labels",
    "read_scores",
    "recall_at",
    "rmse",
    "rmse_star",
    "share_interval",
    "smallest_detectable",
    "srocc",
    "write_scores",
]
