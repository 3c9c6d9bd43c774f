"""Runs that repeat a setting over random splits or folds of a data set: each judged on its own items; medians.

The field reports small data sets so (KoNViD-1k, LIVE-VQC, YouTube-UGC: ten random divisions, 80 % to train on). Repeats
share most of their training items, so that they are no independent sample and give no p value (Nadeau and Bengio,
2003): two settings are compared by how often one is better on the same items.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from evqa.errors import RunError
from evqa.files.plain import write_json
from evqa.files.terminal import terminal
from evqa.files.whole import write_whole
from evqa.metrics import METRICS
from evqa.reporting.axes import axes, setting_name
from evqa.reporting.chosen import chosen
from evqa.reporting.runs import Run

REPEATED = ("data.split_seed", "data.fold")
SHOWN = ("srocc", "plcc", "krocc", "rmse")


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """A setting's runs, by the split and seed that they were trained with.

    values: each metric on a run's own items. last: the compared metric of the last validation on these items, of runs
    whose checkpoint was chosen on them.
    """

    name: str
    num_items: Mapping[str, int]
    values: Mapping[str, Mapping[str, float]]
    last: Mapping[str, float]

    def median(self, metric: str) -> float:
        """The median over the runs; NaN where one of them has no such number."""
        values = list(self.values[metric].values())
        return math.nan if any(map(math.isnan, values)) else median(values)


def repeats(runs: Sequence[Run], *, metric: str, split: str = "val") -> tuple[Repeats, ...]:
    """Gather the runs of each setting, the best setting first. Raises RunError where nothing can be reported."""
    if metric not in METRICS:
        raise RunError(f"--metric {metric}: give one of {', '.join(METRICS)}.")
    if missing := [f"{run.name}: {run.problem}" for run in runs if run.scores is None]:
        raise RunError(
            "A median over some of the repeats is another number; these are missing:\n  " + "\n  ".join(missing)
        )
    settings = dict[str, list[Run]]()
    for run, values in zip(runs, axes(runs), strict=True):
        own = {key: value for key, value in values.items() if key not in REPEATED}
        settings.setdefault(setting_name(own), []).append(run)
    found = [_repeats(name, members, metric=metric, split=split) for name, members in settings.items()]
    sign = -1 if metric == "rmse" else 1
    return tuple(sorted(found, key=lambda one: -np.nan_to_num(sign * one.median(metric), nan=-math.inf)))


def _repeats(name: str, runs: Sequence[Run], *, metric: str, split: str) -> Repeats:
    num_items, values, last = dict[str, int](), {each: dict[str, float]() for each in METRICS}, dict[str, float]()
    for run in runs:
        labels = {id_: item.label for id_, item in run.items.items() if not math.isnan(item.label)}
        ids = [id_ for id_ in run.scores or {} if id_ in labels]
        repeat = _repeat_of(run)
        if repeat in num_items:
            raise RunError(
                f"{name}: two runs are of {repeat}; repeats differ in {' or '.join(REPEATED)}, or in the seed."
            )
        num_items[repeat] = len(ids)
        scores = [(run.scores or {})[id_] for id_ in ids]
        for each, measure in METRICS.items():
            values[each][repeat] = measure(scores, [labels[id_] for id_ in ids]).value
        if checkpoint := chosen(split, record=run.record, config=run.config, history=run.history, metric=metric):
            last[repeat] = checkpoint.last
    return Repeats(name=name, num_items=num_items, values=values, last=last)


def _repeat_of(run: Run) -> str:
    data = run.config.get("data", {})
    parts = [f"{key}={data[key.partition('.')[2]]}" for key in REPEATED if data.get(key.partition(".")[2]) is not None]
    return ", ".join([*parts, f"seed={run.seed}"])


def sentences(found: Sequence[Repeats], *, metric: str) -> list[str]:
    """Compare the best setting with every other one, on the splits that both have."""
    best, lines = found[0], list[str]()
    for other in found[1:]:
        shared = [split for split in best.values[metric] if split in other.values[metric]]
        gains = [best.values[metric][split] - other.values[metric][split] for split in shared]
        wins = sum(gain < 0 if metric == "rmse" else gain > 0 for gain in gains)
        if shared:
            lines.append(
                f"{best.name} is better than {other.name} in {wins} of {len(shared)} repeats; median difference in "
                f"{metric} {median(gains):+.3f}. Repeats share training items: no p value is given."
            )
        else:
            lines.append(f"{best.name} and {other.name} have no split in common; nothing is compared.")
    return [*lines, *_optimism(found, metric=metric)]


def _optimism(found: Sequence[Repeats], *, metric: str) -> list[str]:
    """What the last validations had, where checkpoints were chosen on the items of their scores."""
    last = [f"{one.name} {median(one.last.values()):.3f}" for one in found if one.last]
    said = f"Each checkpoint was chosen on its repeat's own items, so its {metric} is too good; medians of the last"
    return [f"{said} validations: {'; '.join(last)}."] if last else []


def report(found: Sequence[Repeats], folder: Path, *, metric: str, split: str) -> None:
    """Write repeats.csv (a row a run) and repeats.json, and print the medians."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["setting", "repeat", "n", *METRICS])
    for one in found:
        for name, count in one.num_items.items():
            rows.writerow([one.name, name, count, *(one.values[each][name] for each in METRICS)])
    write_whole(folder / "repeats.csv", out.getvalue())
    summary = [{"setting": one.name, "repeats": len(one.num_items), **_medians(one)} for one in found]
    write_json(folder / "repeats.json", {"split": split, "metric": metric, "settings": summary})
    console = terminal(soft_wrap=False)
    console.print(_table(found, split=split))
    for line in sentences(found, metric=metric):
        console.print(f"- {line}")
    console.print(f"Wrote {folder / 'repeats.csv'} and repeats.json", soft_wrap=True)


def _medians(one: Repeats) -> dict[str, dict[str, float]]:
    return {
        metric: {"median": one.median(metric), "low": min(values.values()), "high": max(values.values())}
        for metric, values in one.values.items()
    }


def _table(found: Sequence[Repeats], *, split: str) -> Table:
    title = f"Medians over repeats, each on its own '{split}' items (lowest..highest)"
    table = Table(title=title, title_justify="left", box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("setting")
    for name in ("repeats", *SHOWN):
        table.add_column(name, justify="right")
    for one in found:
        medians = _medians(one)
        cells = [
            f"{medians[name]['median']:.3f}\n{medians[name]['low']:.3f}..{medians[name]['high']:.3f}" for name in SHOWN
        ]
        table.add_row(one.name, str(len(one.num_items)), *cells)
    return table
