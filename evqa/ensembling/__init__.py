"""Combine predictions into a better one, and say honestly how much better it is."""

from evqa.ensembling.combination import METHODS, Combination, Method, equal, load, save
from evqa.ensembling.fitting import fit, out_of_fold
from evqa.ensembling.judgement import Judgement, error_correlation, judge, judge_given, prediction
from evqa.ensembling.members import Members, read_members
from evqa.ensembling.submission import check_submission, write_submission

__all__ = [
    "METHODS",
    "Combination",
    "Judgement",
    "Members",
    "Method",
    "check_submission",
    "equal",
    "error_correlation",
    "fit",
    "judge",
    "judge_given",
    "load",
    "out_of_fold",
    "prediction",
    "read_members",
    "save",
    "write_submission",
]
