"""`python -m evqa.predict`: score files, folders or a table of videos with a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evqa.datasets.snapugc import SnapUGC
from evqa.errors import AnnotationError, ConfigError, RunError
from evqa.module import Scored
from evqa.runs.load import LoadedRun, load_run
from evqa.runs.scoring import score_split, write_table
from evqa.types import Failure, Record

VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".3gp", ".flv"})


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


def predict(request: Request) -> Scored:
    """Score the inputs, print the scores with what was missing, and write --out.

    Raises:
        RunError: not one input could be scored.
    """
    records, rejects = find_records(request)
    run = load_run(request.run, checkpoint=request.ckpt, overrides=request.override)
    scored = score_split(run.trainer(), run.module, run.datamodule({"predict": records}, request.modal), "predict")
    failures = (*rejects, *scored.failures)
    if request.out is not None:
        _write(request, run, records, scored)
    (_print_json if request.json else _print_table)(run, scored, failures)
    if not scored.ids:
        raise RunError(f"None of the {len(failures)} inputs could be scored.")
    return scored


def find_records(request: Request) -> tuple[tuple[Record, ...], tuple[Failure, ...]]:
    """Turn the inputs into records; the id of a file is its path as it was given, without its suffix in a folder.

    Raises:
        AnnotationError, ConfigError: an input does not exist, or flags contradict each other.
    """
    tables = [path for path in request.inputs if path.suffix.lower() in (".csv", ".tsv") and path.is_file()]
    if tables:
        return _table_records(request, tables)
    records = []
    for path in request.inputs:
        if not path.exists():
            raise AnnotationError(f"{path}: no such file or folder")
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise AnnotationError(f"{path}: no videos in this folder (known: {', '.join(sorted(VIDEO_SUFFIXES))})")
        records += [
            Record(
                id=file.stem if path.is_dir() else str(file),
                path=file,
                title=request.title,
                description=request.description,
            )
            for file in files
        ]
    repeated = {record.id for record in records if sum(other.id == record.id for other in records) > 1}
    if repeated:
        raise AnnotationError(f"two inputs have the same id: {', '.join(sorted(repeated))}; give them one at a time")
    return tuple(records), ()


def _table_records(request: Request, tables: list[Path]) -> tuple[tuple[Record, ...], tuple[Failure, ...]]:
    if len(request.inputs) > 1:
        raise ConfigError([f"{tables[0]}: give one CSV alone, or videos and folders."])
    if request.title is not None or request.description is not None:
        raise ConfigError(["--title and --description belong to single videos; a CSV brings its own."])
    annotations = SnapUGC(predict_csv=str(tables[0]), videos=str(request.videos or tables[0].parent)).load()
    return annotations.splits["predict"], annotations.rejects


def _write(request: Request, run: LoadedRun, records: Sequence[Record], scored: Scored) -> None:
    score = dict(zip(scored.ids, scored.scores, strict=True))
    rows = [
        (record.id, repr(score.get(record.id, request.fill)))
        for record in records
        if record.id in score or request.fill is not None
    ]
    assert request.out is not None
    write_table(request.out, ["Id", run.module.scale.name], rows)


def _print_json(run: LoadedRun, scored: Scored, failures: Sequence[Failure]) -> None:
    scale = run.module.scale
    for id_, score, missing in zip(scored.ids, scored.scores, scored.missing, strict=True):
        row = {"id": id_, "label": scale.name, "range": list(scale.range), "score": score, "missing": list(missing)}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    for failure in failures:
        sys.stdout.write(json.dumps({"id": failure.id, "error": failure.reason}, ensure_ascii=False) + "\n")


def _print_table(run: LoadedRun, scored: Scored, failures: Sequence[Failure]) -> None:
    scale = run.module.scale
    console = Console(highlight=False, soft_wrap=True)
    table = Table("video", scale.name, "missing", title=f"{scale.name} on {scale.low:g} to {scale.high:g}")
    for id_, score, missing in zip(scored.ids, scored.scores, scored.missing, strict=True):
        table.add_row(id_, f"{score:.4f}", "; ".join(missing) or "-")
    if scored.ids:
        console.print(table)
    for failure in failures:
        Console(stderr=True, highlight=False).print(f"not scored: {failure}", markup=False)
    console.print(f"{len(scored.ids)} scored, {len(failures)} failed.")
