"""`python -m evqa.calibrate RUN...`: fit a recalibration to what runs have predicted, and keep it beside them.

No model is loaded: the predictions and labels of a split lie in a run's folder.

# N items
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from evqa import __version__
from evqa.config.metric_names import with_groups
from evqa.config.paths import calibration_file, conf_folder, group_folders, group_options, is_unfinished
from evqa.errors import EvqaError, RunError
from evqa.files.plain import write_json
from evqa.files.progress import BEGINS_ANEW, counted
from evqa.files.stored import read_object
from evqa.files.terminal import Terminal, terminal
from evqa.metrics import Estimate
from evqa.metrics.calibration import KnotMap, LinearMap
from evqa.metrics.conformal import CalibrationResult, coverage_range, recalibrate
from evqa.reporting.chosen import chosen
from evqa.reporting.runs import Run, find_runs, read_run, with_labels
from evqa.scoring.calibration import CHECKPOINT
from evqa.training.folder import EXPORT_FILE
from evqa.types import LabelScale

LARGEST = 1e100  # of the ends of a scale
FEW_UNITS = 30  # below, what is printed says little of other items


@dataclass(frozen=True, kw_only=True)
class CalibratedRun:
    """A run and its new calibration. chosen: where its checkpoint was chosen on these items, e.g. `epoch 3 of 4`."""

    run: Run
    scale: LabelScale
    method: str
    result: CalibrationResult
    chosen: str | None

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return calibration_file(self.run.path)


def calibrate_runs(places: Sequence[Path], *, split: str, method: str, level: float, labels: Path | None) -> None:
    """Calibrate runs and folders of runs, write each one's file, and print what was found.

    Raises:
        EvqaError: not one could be calibrated.
    """
    _check_places(places)
    found = find_runs(places)
    done, problems = list[CalibratedRun](), list[str]()
    with counted("calibrating runs", len(found.folders), stderr=True, then=BEGINS_ANEW) as counting:
        for folder in counting.watch(found.folders):
            try:
                one = _calibrated(folder, split=split, method=method, level=level, labels=labels)
                _write(one, split=split)
                done.append(one)
            except EvqaError as error:
                problems.append(str(error))
    if not done:
        raise RunError("\n".join(problems))
    for sentence in (*found.left_out, *problems):
        terminal(stderr=True, level="warning").print(f"Note: not calibrated: {sentence}")
    console = terminal(soft_wrap=False)
    for one in done:
        show(one, console, split=split)


def _check_places(places: Sequence[Path]) -> None:
    """Raise RunError where a place is a scorer that keeps no predictions beside it."""
    names = group_options(group_folders(conf_folder())["scorer"])
    for place in places:
        if (place / EXPORT_FILE).is_file():
            raise RunError(f"{place}: a merged folder keeps no predictions; calibrate its run, and merge that again.")
        if str(place) in names and not place.exists():
            raise RunError(f"{place}: a published scorer keeps no predictions, so that it cannot be calibrated.")


def _calibrated(folder: Path, *, split: str, method: str, level: float, labels: Path | None) -> CalibratedRun:
    run = read_run(folder, split=split)
    if run.scores is None:
        raise RunError(_no_scores(run, split=split))
    if labels is not None:
        run = with_labels(run, labels)
    scale, scores = _scale(run, split=split), run.scores or {}
    ids = [id_ for id_ in scores if id_ in run.items and not math.isnan(run.items[id_].label)]
    if not ids:
        raise RunError(f"{folder}: no item of {split} has a label; give a table of them with --labels.")
    try:
        result = recalibrate(
            np.array([scores[id_] for id_ in ids]),
            np.array([run.items[id_].label for id_ in ids]),
            span=scale.range,
            groups=[run.items[id_].group for id_ in ids],
            method=method,
            level=level,
        )
    except EvqaError as error:
        raise RunError(f"{folder}: {split} cannot be calibrated: {error}.") from error
    choice = chosen(split, record=run.record, config=run.config, history=run.history, metric="challenge")
    place = None if choice is None else choice.place
    return CalibratedRun(run=run, scale=scale, method=method, result=result, chosen=place)


def _no_scores(run: Run, *, split: str) -> str:
    """Say why there is nothing to calibrate: perhaps the run's head answers in words."""
    about = run.path / "predictions" / f"{split}.json"
    if is_unfinished(run.path) or not about.exists() or about.with_suffix(".csv").exists():
        return f"{run.path}: {run.problem}."
    losses = read_object(about).get("metrics")
    named = f" ({', '.join(map(str, losses))})" if isinstance(losses, dict) and losses else ""
    return f"{run.path}: its head gives no scores{named}, so that there is nothing to calibrate."


def _scale(run: Run, *, split: str) -> LabelScale:
    """The scale of a split's scores. Raises RunError where its record does not say of what they are."""
    label, texts = run.record.get("label"), [run.record.get("modal"), run.record.get(CHECKPOINT)]
    about: Mapping[str, Any] = label if isinstance(label, dict) else {}
    ends = about.get("range")
    numbers = [end for end in ends if type(end) in (int, float)] if isinstance(ends, list) else []
    is_pair = len(numbers) == 2 and numbers == ends and all(abs(end) < LARGEST for end in numbers)
    if not is_pair or about.get("name") != run.label or not all(isinstance(text, str) and text for text in texts):
        raise RunError(
            f"{run.path}: predictions/{split}.json does not say of which checkpoint, modality and scale the scores "
            f"are. Score the split again: evqa eval {run.path} --split {split}"
        )
    return LabelScale(**{name: about[name] for name in ("name", "range")})


def _write(one: CalibratedRun, *, split: str) -> None:
    """Write the file; never to where a link leads, because a run may come from anybody."""
    if one.file.is_symlink():
        raise RunError(f"{one.file}: a link, which is not followed. Remove it.")
    write_json(one.file, _to_json(one, split=split))


def _to_json(one: CalibratedRun, *, split: str) -> dict[str, Any]:
    result, curve = one.result, one.result.recalibration.curve
    assert isinstance(curve, LinearMap | KnotMap)
    return {
        "evqa": __version__,
        "split": split,
        "modal": one.run.record["modal"],
        "label": {"name": one.scale.name, "range": list(one.scale.range)},
        "checkpoint": one.run.record.get("checkpoint"),
        CHECKPOINT: one.run.record[CHECKPOINT],
        "chosen_on_these_items": one.chosen,
        "n": result.n,
        "num_groups": result.num_groups,
        "method": one.method,
        "map": asdict(curve),
        "level": result.recalibration.level,
        "half_width": result.recalibration.half_width,
        "measured": {
            "coverage": result.coverage,
            "coverage_of_thirds": list(result.coverage_of_thirds),
            "rmse_before": result.rmse_before,
            "rmse_after": result.rmse_after,
            "slope": asdict(result.line.slope),
            "intercept": asdict(result.line.intercept),
        },
    }


def show(one: CalibratedRun, console: Terminal, *, split: str) -> None:
    """Print what a run's calibration is worth."""
    result, made = one.result, one.result.recalibration
    size = with_groups(f"{result.n} items", result.num_groups)
    low, high = one.scale.range
    console.print(f"{one.run.path}: {split}, n = {size}, {one.scale.name} on {low:g} to {high:g}")
    least, most = coverage_range(result.num_units, level=made.level)
    thirds = ", ".join(f"{100 * share:.0f}" for share in result.coverage_of_thirds)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("slope", f"{_with_ends(result.line.slope)}; calibrated: 1")
    table.add_row("intercept", f"{_with_ends(result.line.intercept)}; calibrated: 0")
    table.add_row("RMSE", f"{result.rmse_before:.4f}, recalibrated ({one.method}) {result.rmse_after:.4f} out of fold")
    table.add_row(f"{100 * made.level:g} % interval", f"recalibrated score ± {made.half_width:.4g}, cut to the scale")
    table.add_row(
        "labels inside",
        f"{100 * result.coverage:.1f} % out of fold; in the lowest, middle and highest third of the scores {thirds} %",
    )
    new = f"with this n, {100 * least:.0f} to {100 * most:.0f} % of new ones (in about 95 of 100 calibrations)"
    table.add_row("", f"{new}; fewer, for the checkpoint was chosen on these items" if one.chosen else new)
    console.print(table)
    for note in _notes(one):
        console.print(f"Note: {note}")
    console.print(f"Wrote {one.file}", soft_wrap=True)


def _notes(one: CalibratedRun) -> list[str]:
    result, notes = one.result, []
    if result.num_units < FEW_UNITS:
        kinds = "items" if result.num_groups is None else "groups"
        notes.append(f"Below {FEW_UNITS} {kinds}: the intervals are rough, and so is what was measured of them.")
    if one.chosen:
        notes.append(
            f"The checkpoint ({one.chosen}) was chosen on these items, so that the intervals are too narrow and the "
            "errors too small. A split that chose nothing (--split test) has no such fault."
        )
    if result.line.slope.low <= 0:
        notes.append("The slope's interval holds 0: the scores may say nothing about the labels.")
    return notes


def _with_ends(estimate: Estimate) -> str:
    if estimate.reason:
        return f"{estimate.value:.3f} (no interval: {estimate.reason})"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
