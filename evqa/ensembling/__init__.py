"""Combine predictions into a better one, and say honestly how much better it is."""

from evqa.ensembling.combination import FITTED, METHODS, Combination, Method, equal, load, save
from evqa.ensembling.fitting import fit, out_of_fold
from evqa.ensembling.judgement import Judgement, alike, error_correlation, judge, judge_given, prediction
from evqa.ensembling.members import Members, read_members
from evqa.ensembling.submission import check_submission, write_submission

__all__ = [
    "FITTED",
    "METHODS",
    "Combination",
    "Judgement",
    "Members",
    "Method",
    "alike",
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
