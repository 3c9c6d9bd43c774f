"""What is known about a run from its folder, without building anything: how it ended, its score, its size."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from evqa.config.identity import IRRELEVANT
from evqa.config.paths import finished_mark, lock_file, run_folders
from evqa.config.reading import read_yaml
from evqa.errors import EvqaError, RunError
from evqa.files.lock import is_held
from evqa.files.stored import read_object, read_objects

Status = Literal["finished", "running", "stopped"]
HISTORY = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class KeptRun:
    """A run folder. Of a damaged file nothing is known.

    setting: as typed. score: on one split, of `num_scored` items; of a loss (`is_loss`) less is better.
    step: the last one logged. num_bytes: of all files; a file that has two names counts once. changed: seconds since
    1970.
    """

    path: Path
    status: Status
    setting: tuple[str, ...]
    score: float | None
    is_loss: bool
    num_scored: int | None
    step: int | None
    num_bytes: int
    changed: float

    @property
    def rank(self) -> tuple[bool, float, float]:
        """What a list is sorted by: the best first, runs without a score behind, the latest of them first."""
        score = self.score if self.status == "finished" else None
        sign = 1 if self.is_loss else -1
        return score is None, 0.0 if score is None else sign * score, -self.changed


def kept_runs(places: Sequence[Path]) -> list[tuple[str, list[KeptRun]]]:
    """Read the runs in and below folders: by experiment (their parent folder), the best of each first.

    Raises:
        RunError: a place is no folder.
    """
    if wrong := [place for place in places if not place.is_dir()]:
        raise RunError(
            f"{wrong[0]}: there is no such folder. Give folders of runs, or runs (runs/<experiment>/<name>)."
        )
    folders = dict.fromkeys(folder for place in places for folder in run_folders(place))
    runs = [kept_run(folder) for folder in sorted(folders, key=lambda folder: str(folder.parent))]
    experiments = groupby(runs, key=lambda run: str(run.path.parent))
    return [(name, sorted(members, key=lambda run: run.rank)) for name, members in experiments]


def kept_run(folder: Path, *, split: str = "val") -> KeptRun:
    """Read one run folder. split: of the score."""
    value, is_loss, num_scored = _score(folder, split)
    mark, history = finished_mark(folder), folder / HISTORY
    return KeptRun(
        path=folder,
        status="finished" if mark.exists() else "running" if is_running(folder) else "stopped",
        setting=_setting(folder),
        score=value,
        is_loss=is_loss,
        num_scored=num_scored,
        step=_last_step(history),
        num_bytes=count_bytes(folder),
        changed=max(_changed(path) for path in (mark, history, folder / "config.yaml")),
    )


def is_running(folder: Path) -> bool:
    """Whether a process trains here just now; where nobody can tell, no."""
    try:
        return is_held(lock_file(folder))
    except OSError:
        return False


def differing(runs: Sequence[KeptRun]) -> list[str]:
    """Return the setting of each run without what changes no result, and without what all of several runs share."""
    settings = [[line for line in run.setting if not _is_irrelevant(line)] for run in runs]
    shared = set[str]() if len(runs) < 2 else set.intersection(*map(set, settings))
    return [" ".join(line for line in setting if line not in shared) for setting in settings]


def _is_irrelevant(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return any(fnmatchcase(key, pattern) or fnmatchcase(key, f"{pattern}.*") for pattern in IRRELEVANT)


def count_bytes(*places: Path) -> int:
    """Count what files and whole folders hold; links are not followed."""
    return sum({(about.st_dev, about.st_ino): about.st_size for about in _files(places)}.values())


def _files(places: Iterable[Path]) -> Iterator[os.stat_result]:
    for place in places:
        try:
            about = place.lstat()
            children = list(place.iterdir()) if stat.S_ISDIR(about.st_mode) else []
        except OSError:  # gone since, or not ours to read
            continue
        if stat.S_ISREG(about.st_mode):
            yield about
        yield from _files(children)


def read_metrics(folder: Path, split: str) -> dict[str, Any]:
    """Read predictions/<split>.json; empty where there is none or it is damaged."""
    try:
        record = read_object(folder / "predictions" / f"{split}.json")
    except EvqaError:
        return {}
    return record if isinstance(record.get("metrics"), dict) else {}


def metric_value(record: Mapping[str, Any], name: str) -> float | None:
    """Return a metric of a record, None where it has no value."""
    metric = record.get("metrics", {}).get(name)
    value = metric.get("value") if isinstance(metric, dict) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def without_labels(record: Mapping[str, Any]) -> str | None:
    """Return what is said of a split in place of its metrics where nothing of it has a label, else None."""
    num_scored = record.get("num_unlabelled")
    if record.get("n") != 0 or not num_scored:
        return None
    return (
        f"{num_scored} scored, {record.get('num_failed')} failed; without labels there is nothing to compare the "
        "scores with"
    )


def _score(folder: Path, split: str) -> tuple[float | None, bool, int | None]:
    record = read_metrics(folder, split)
    is_loss = "loss" in record.get("metrics", {})
    num_scored = record.get("n")
    value = metric_value(record, "loss" if is_loss else "challenge")
    return value, is_loss, num_scored if isinstance(num_scored, int) else None


def _setting(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(map(str, read_yaml(folder / "overrides.yaml", kind=list)))
    except EvqaError:
        return ()


def _last_step(history: Path) -> int | None:
    try:
        steps = [row["step"] for row in read_objects(history) if isinstance(row.get("step"), int)]
    except EvqaError:
        return None
    return max(steps, default=None)


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
