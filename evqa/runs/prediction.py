"""`python -m evqa.predict`: score files, folders or a table of videos with a finished run."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from evqa.datasets.search import distinct_ids, find_videos
from evqa.datasets.snapugc import SnapUGC
from evqa.errors import AnnotationError, ConfigError, RunError
from evqa.files.names import from_system, is_text
from evqa.files.regular import why_unreadable
from evqa.files.terminal import terminal
from evqa.files.whole import check_place
from evqa.module import Scored
from evqa.runs.load import load_run
from evqa.runs.scoring import score_split, write_table
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


def predict(request: Request) -> Scored:
    """Score the inputs, print the scores with what was missing, and write --out.

    Raises:
        RunError: not one input could be scored; then nothing is written.
    """
    _check(request)
    inputs = find_inputs(request)
    for note in inputs.notes:
        terminal(stderr=True).print(f"Note: {note}")
    run = load_run(request.run, checkpoint=request.ckpt, overrides=request.override)
    _check_fill(request.fill, run.module.scale)
    scored = score_split(
        run.trainer(), run.module, run.datamodule({"predict": inputs.records}, request.modal), "predict"
    )
    failures = (*inputs.failures, *scored.failures)
    (_print_json if request.json else _print_table)(run.module.scale, scored, failures, request.fill)
    if not scored.ids:
        raise RunError(f"None of the {len(failures)} inputs could be scored.")
    if request.out is not None:
        write_table(request.out, ["Id", run.module.scale.name], _rows(inputs.ids, scored, request.fill))
        if request.fill is not None:
            _print_filled(inputs.ids, scored, failures, request.fill)
    return scored


def _check(request: Request) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        ConfigError, FileError: flags that cannot be used; a place where --out cannot be written.
    """
    problems = []
    if request.fill is not None and request.out is None:
        problems.append(f"--fill {request.fill:g}: filled scores stand in a file only; give --out FILE.csv.")
    if not all(is_text(from_system(text)) for text in (request.title, request.description) if text):
        problems.append("--title, --description: the text is not UTF-8.")
    if problems:
        raise ConfigError(problems)
    if request.out is not None:
        check_place(request.out)


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
    title, description = (text and from_system(text) for text in (request.title, request.description))
    return Inputs(
        records=tuple(
            Record(id=name, path=file, title=title, description=description)
            for file, name in named.items()
            if file not in reasons
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


def _rows(ids: Sequence[str], scored: Scored, fill: float | None) -> list[tuple[str, str]]:
    """One row an id in the order of the inputs; without `fill` only those that have a score."""
    score: Mapping[str, float] = dict(zip(scored.ids, scored.scores, strict=True))
    return [(id_, repr(score.get(id_, fill))) for id_ in ids if id_ in score or fill is not None]


def _print_json(scale: LabelScale, scored: Scored, failures: Sequence[Failure], fill: float | None) -> None:
    r"""Print a line of ASCII for each item; a byte of a name that is not UTF-8 is `\udcXX`, as Python has it."""
    for id_, score, missing in zip(scored.ids, scored.scores, scored.missing, strict=True):
        row = {"id": id_, "label": scale.name, "range": list(scale.range), "score": score, "missing": list(missing)}
        sys.stdout.write(json.dumps(row) + "\n")
    for failure in failures:
        filled = {} if fill is None or failure.id in scored.ids else {"filled": fill}
        sys.stdout.write(json.dumps({"id": failure.id, "error": failure.reason, **filled}) + "\n")


def _print_table(scale: LabelScale, scored: Scored, failures: Sequence[Failure], _: float | None) -> None:
    console = terminal()
    table = Table("video", scale.name, "missing", title=f"{scale.name} on {scale.low:g} to {scale.high:g}")
    for id_, score, missing in zip(scored.ids, scored.scores, scored.missing, strict=True):
        table.add_row(id_, f"{score:.4f}", "; ".join(missing) or "-")
    if scored.ids:
        console.print(table)
    for failure in failures:
        terminal(stderr=True).print(f"not scored: {failure}")
    console.print(f"{len(scored.ids)} scored, {len(failures)} failed.")


def _print_filled(ids: Sequence[str], scored: Scored, failures: Sequence[Failure], fill: float) -> None:
    have = set(scored.ids)
    kinds = {failure.id: failure.kind for failure in failures}
    counts = Counter(kinds.get(id_, "no reason is known") for id_ in ids if id_ not in have)
    console = terminal(stderr=True)
    console.print(f"Filled with {fill:g}: {sum(counts.values())} of {len(ids)} ids.")
    for kind, count in counts.most_common():
        console.print(f"  {count} x {kind}")
