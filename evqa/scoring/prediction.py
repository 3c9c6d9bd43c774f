"""`python -m evqa.predict`: score files, folders or a table of videos with a finished run."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from evqa.datasets.search import distinct_ids, find_videos
from evqa.datasets.snapugc import SnapUGC
from evqa.errors import AnnotationError, ConfigError, FileError, RunError
from evqa.files.names import from_system, is_text
from evqa.files.regular import why_unreadable
from evqa.files.terminal import terminal
from evqa.files.whole import check_place, write_table
from evqa.scoring.places import load_run
from evqa.scoring.score import Score
from evqa.types import Failure, LabelScale, Record

TABLES = (".csv", ".tsv")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The flags of `evqa predict`."""

    inputs: list[Path]
    run: Path
    title: str | None = None
    description: str | None = None
    videos: Path | None = None
    modal: str | None = None
    ckpt: str = "best"
    out: Path | None = None
    fill: float | None = None
    json: bool = False
    override: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is to be scored. ids: of all items, also those that cannot be scored, each once, in the order of --out."""

    records: tuple[Record, ...]
    failures: tuple[Failure, ...]
    ids: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores with what each file lacks, and the items without one."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    missing: tuple[tuple[str, ...], ...]
    failures: tuple[Failure, ...]


def _scored(found: Iterable[Score]) -> Scored:
    scores = list(found)
    good = [score for score in scores if score.failure is None]
    return Scored(
        ids=tuple(score.id for score in good),
        scores=tuple(score.value for score in good if score.value is not None),
        missing=tuple(score.missing for score in good),
        failures=tuple(score.failure for score in scores if score.failure is not None),
    )


def predict(request: Request) -> Scored:
    """Score the inputs, print the scores with what was missing, and write --out.

    Raises:
        RunError: not one input could be scored; then nothing is written.
    """
    _check(request)
    inputs = find_inputs(request)
    for note in inputs.notes:
        terminal(stderr=True).print(f"Note: {note}")
    if not inputs.records:
        raise _nothing_scored(request, inputs.failures)
    run = load_run(request.run, checkpoint=request.ckpt, overrides=request.override)
    _check_fill(request.fill, run.module.scale)
    scored = _scored(run.as_scorer(modal=request.modal).score(inputs.records))
    failures = (*inputs.failures, *scored.failures)
    if not scored.ids:
        raise _nothing_scored(request, failures)
    have, scale = set(scored.ids), run.module.scale
    filled = {} if request.fill is None else {id_: request.fill for id_ in inputs.ids if id_ not in have}
    try:
        if request.out is not None:
            score = dict(zip(scored.ids, scored.scores, strict=True)) | filled
            rows = [(id_, repr(score[id_])) for id_ in inputs.ids if id_ in score]
            write_table(request.out, ["Id", scale.name], rows)
    finally:  # a full disk does not take the scores along
        _print(request, scale, scored, failures, filled, num_ids=len(inputs.ids))
    return scored


def _print(
    request: Request,
    scale: LabelScale,
    scored: Scored,
    failures: Sequence[Failure],
    filled: Mapping[str, float],
    *,
    num_ids: int,
) -> None:
    (_print_json if request.json else _print_table)(scale, scored)
    _print_failures(request.json, failures, filled)
    if not request.json:
        terminal().print(f"{len(scored.ids)} scored, {len(failures)} failed.")
    if filled:
        _print_filled(filled, failures, num_ids)


def _check(request: Request) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        ConfigError: flags that cannot be used; a place where --out cannot be written.
    """
    problems = []
    if request.fill is not None and request.out is None:
        problems.append(f"--fill {request.fill:g}: filled scores stand in a file only; give --out FILE.csv.")
    if not all(is_text(from_system(text)) for text in (request.title, request.description) if text):
        problems.append("--title, --description: the text is not UTF-8.")
    if problems:
        raise ConfigError(problems)
    try:
        if request.out is not None:
            check_place(request.out)
    except FileError as error:
        mend = "give the name of a file that can be written; --json prints to the standard output"
        raise ConfigError([f"--out {error}; {mend}."]) from error


def _check_fill(fill: float | None, scale: LabelScale) -> None:
    if fill is not None and not (math.isfinite(fill) and scale.low <= fill <= scale.high):
        raise ConfigError(
            [f"--fill {fill:g}: give a number in {scale.low:g}..{scale.high:g}, the range of {scale.name}."]
        )


def find_inputs(request: Request) -> Inputs:
    """Turn the inputs into records; the ids of files are told by `distinct_ids`, those of a table stand in it.

    Raises:
        AnnotationError, ConfigError: an input does not exist, or flags contradict each other.
    """
    tables = [path for path in request.inputs if path.suffix.lower() in TABLES and not why_unreadable(path)]
    if tables:
        return _from_table(request, tables)
    files, reasons, notes = dict[Path, Path | None](), dict[Path, str](), list[str]()
    for path in dict.fromkeys(request.inputs):
        if not os.path.lexists(path):
            raise AnnotationError(f"{path}: no such file or folder")
        if os.path.isdir(path):  # noqa: PTH112 (pathlib's raises where a folder on the way is closed)
            notes += _add_folder(path, files, reasons)
        else:
            files[path] = None
            reasons |= {path: reason} if (reason := why_unreadable(path)) else {}
    ids = distinct_ids((folder, file) for file, folder in files.items())
    named = dict(zip(files, ids, strict=True))
    given = {"title": request.title, "description": request.description}
    texts = {name: from_system(text) for name, text in given.items() if text}
    return Inputs(
        records=tuple(
            Record(id=name, paths=(file,), texts=texts) for file, name in named.items() if file not in reasons
        ),
        failures=tuple(Failure(id=named.get(path, str(path)), reason=reason) for path, reason in reasons.items()),
        ids=tuple(ids),
        notes=tuple(notes),
    )


def _add_folder(folder: Path, files: dict[Path, Path | None], reasons: dict[Path, str]) -> list[str]:
    """Add the videos of a folder; returns what is worth telling. Raises AnnotationError where there is none."""
    found = find_videos(folder)
    others = f"passed over: {found.sentence()}" if found.passed_over else ""
    if not found.files and not found.unreadable:
        raise AnnotationError(f"{folder}: no videos in this folder or below ({others or 'it is empty'})")
    for path in found.files:
        files.setdefault(path, folder)
    reasons |= found.unreadable
    return [f"{folder}: {others}."] if others else []


def _from_table(request: Request, tables: list[Path]) -> Inputs:
    if len(request.inputs) > 1:
        raise ConfigError([f"{tables[0]}: give one CSV alone, or videos and folders."])
    if request.title is not None or request.description is not None:
        raise ConfigError(["--title and --description belong to single videos; a CSV brings its own."])
    dataset = SnapUGC(predict_csv=str(tables[0]), videos=str(request.videos or tables[0].parent))
    annotations = dataset.load()
    return Inputs(
        records=annotations.splits["predict"],
        failures=annotations.rejects,
        ids=annotations.ids["predict"],
        notes=annotations.notes,
    )


def _nothing_scored(request: Request, failures: Sequence[Failure]) -> RunError:
    _print_failures(request.json, failures, {})
    return RunError(f"None of the {len(failures)} inputs could be scored.")


def _print_failures(as_json: bool, failures: Sequence[Failure], filled: Mapping[str, float]) -> None:
    """Print why items have no score; filled: what stands in --out for them, by id."""
    for failure in failures:
        if as_json:
            score = {"filled": filled[failure.id]} if failure.id in filled else {}
            sys.stdout.write(json.dumps({"id": failure.id, "error": failure.reason, **score}) + "\n")
        else:
            terminal(stderr=True).print(f"not scored: {failure}")


def _print_json(scale: LabelScale, scored: Scored) -> None:
    r"""Print a line of ASCII for each item; a byte of a name that is not UTF-8 is `\udcXX`, as Python has it."""
    for id_, score, missing in zip(scored.ids, scored.scores, scored.missing, strict=True):
        row = {"id": id_, "label": scale.name, "range": list(scale.range), "score": score, "missing": list(missing)}
        sys.stdout.write(json.dumps(row) + "\n")


def _print_table(scale: LabelScale, scored: Scored) -> None:
    table = Table("video", scale.name, "missing", title=f"{scale.name} on {scale.low:g} to {scale.high:g}")
    for id_, score, missing in zip(scored.ids, scored.scores, scored.missing, strict=True):
        table.add_row(id_, f"{score:.4f}", "; ".join(missing) or "-")
    terminal().print(table)


def _print_filled(filled: Mapping[str, float], failures: Sequence[Failure], num_ids: int) -> None:
    """Say how many ids got a score that no model gave, and why."""
    kinds = {failure.id: failure.kind for failure in failures}
    console = terminal(stderr=True)
    console.print(f"Filled with {next(iter(filled.values())):g}: {len(filled)} of {num_ids} ids.")
    for kind, count in Counter(kinds.get(id_, "no reason is known") for id_ in filled).most_common():
        console.print(f"  {count} x {kind}")
