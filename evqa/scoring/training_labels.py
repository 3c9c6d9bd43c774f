"""The labels that a scorer was trained on, kept beside it: a score's place among them says more than the score."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from evqa.errors import FileError
from evqa.files.stored import read_object
from evqa.files.whole import write_whole
from evqa.types import Record

FILE = "training_labels.json"  # in a run's folder
KEY = "training_labels"  # in this file, and in a merged folder's evqa.json
DIGITS = 6  # significant ones, far more than a place among a hundred thousand labels needs


def write_training_labels(folder: Path, records: Iterable[Record]) -> None:
    """Write the labels of a run's training items, sorted."""
    labels = sorted(float(f"{record.label:.{DIGITS}g}") for record in records if record.label is not None)
    write_whole(folder / FILE, json.dumps({KEY: labels}) + "\n")


def read_training_labels(folder: Path) -> tuple[float, ...]:
    """Read them again; empty for a run that was made before they were kept.

    Raises:
        FileError: the file is damaged.
    """
    file = folder / FILE
    return checked_labels(read_object(file).get(KEY), file) if file.exists() else ()


def checked_labels(labels: object, file: Path) -> tuple[float, ...]:
    """Check that a value is a sorted list of numbers: the file may come from anybody.

    Raises:
        FileError: it is something else.
    """
    if not isinstance(labels, list) or not all(_is_number(label) for label in labels) or not _is_sorted(labels):
        raise FileError(file, f"is damaged: {KEY} must be a sorted list of numbers")
    return tuple(map(float, labels))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_sorted(labels: Sequence[float]) -> bool:
    return all(one <= other for one, other in itertools.pairwise(labels))
