"""Compare two run folders: everything that is written must be equal, but for a stated list."""

import csv
import json

from evqa.training.callbacks.records import read_rows

NOT_COMPARED = {
    "environment.json": "the machine and the versions",
    ".lock": "empty",
    "sessions.jsonl": "times and memory",
}
VARYING = "speed/"  # metrics of this kind are times


def differences(one, other):
    """Name the files that differ between two run folders that lay at the same place when they were written."""
    names = {str(path.relative_to(run.path)) for run in (one, other) for path in files(run)}
    return sorted(name for name in names - NOT_COMPARED.keys() if not same(one.path / name, other.path / name))


def files(run):
    return [path for path in run.path.rglob("*") if path.is_file() and "wandb" not in path.relative_to(run.path).parts]


def same(one, other):
    if not (one.exists() and other.exists()):
        return False
    if one.name == "metrics.jsonl":
        return history(one) == history(other) and lines(one) == len(history(one))
    if one.name == "metrics.csv":
        return table(one) == table(other)
    return one.read_bytes() == other.read_bytes()


def history(path):
    """The rows without what is a time, as texts: NaN is equal to NaN."""
    return [json.dumps({key: row[key] for key in row if not key.startswith(VARYING)}) for row in read_rows(path)]


def lines(path):
    return path.read_bytes().count(b"\n")


def table(path):
    with path.open(newline="") as file:
        return [{key: row[key] for key in row if not key.startswith(VARYING)} for row in csv.DictReader(file)]
