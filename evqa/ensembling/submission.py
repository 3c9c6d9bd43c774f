"""Submissions: writing a prediction, checking a written file (not the numbers in memory), packing it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from evqa.ensembling.members import Vector
from evqa.errors import AnnotationError
from evqa.files.grid import read_text
from evqa.files.names import listed, shown
from evqa.files.whole import whole_file
from evqa.metrics.score_table import ID, read_rows, write_scores

EPOCH = (1980, 1, 1, 0, 0, 0)  # the same file gives the same archive


def write_submission(path: Path, ids: Sequence[str], scores_N: Vector, *, label: str, zipped: bool) -> list[Path]:
    """Write `Id,<label>` (and a zip of it), read it back and check it; returns what was written.

    Raises AnnotationError where a score is not finite or the file does not hold exactly these ids.
    """
    bad = [id_ for id_, score in zip(ids, scores_N, strict=True) if not math.isfinite(score)]
    if bad:
        raise AnnotationError(
            f"{len(bad)} of {len(ids)} combined scores are not finite: {listed(bad)}. Nothing is written."
        )
    write_scores(path, dict(zip(ids, map(float, scores_N), strict=True)), label=label)
    check_submission(path, ids, label=label)
    return [path, pack(path)] if zipped else [path]


def pack(path: Path) -> Path:
    """Write a zip archive of a file beside it, the same bytes each time; returns its path. Raises FileError."""
    archive = path.with_suffix(".zip")
    entry = zipfile.ZipInfo(shown(path.name), EPOCH)
    entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
    with whole_file(archive) as file, zipfile.ZipFile(file, "w") as packed:
        packed.writestr(entry, path.read_bytes())
    return archive


def check_submission(
    path: Path, ids: Sequence[str], *, label: str, span: tuple[float, float] | None = None
) -> list[float]:
    """Check that a file is `Id,<label>` with exactly these ids, each once, in this order; returns its scores.

    span: lowest and highest score that may stand in it. Raises AnnotationError with all that is wrong.
    """
    wanted = f"{ID},{label}"
    header = next(iter(read_text(path, any_bytes=True).splitlines()), "")
    columns, rows = read_rows(path)
    if header != wanted or columns != [ID, label]:
        raise AnnotationError(f"{path}: the first line is {header[:80]!r}, it must be exactly {wanted!r}.")
    problems = [*_id_problems([row[ID] for row in rows], ids), *_score_problems(rows, label, span)]
    if problems:
        raise AnnotationError("\n".join(f"{path}: {problem}" for problem in problems))
    return [float(row[label]) for row in rows]


def _id_problems(found: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    known, there, seen = set(wanted), set(found), set[str]()
    missing = [id_ for id_ in wanted if id_ not in there]
    unknown = [id_ for id_ in dict.fromkeys(found) if id_ not in known]
    twice = dict.fromkeys(id_ for id_ in found if id_ in seen or seen.add(id_))  # type: ignore[func-returns-value]
    if missing:
        yield f"{len(missing)} of the {len(wanted)} ids are missing: {listed(missing)}."
    if unknown:
        yield f"{len(unknown)} ids are unknown: {listed(unknown)}."
    if twice:
        yield f"{len(twice)} ids occur more than once: {listed(twice)}."
    if not (missing or unknown or twice) and list(found) != list(wanted):
        row = next(at for at, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other)
        yield f"the ids are in another order: row {row + 1} is {found[row]}, {wanted[row]} is expected."


def _score_problems(rows: Sequence[dict[str, str]], label: str, span: tuple[float, float] | None) -> Iterator[str]:
    scores = {row[ID]: _number(row[label]) for row in rows}
    texts = {row[ID]: row[label] for row in rows}
    bad = [f"{id_} ({texts[id_][:20] or 'empty'})" for id_, score in scores.items() if not math.isfinite(score)]
    if bad:
        yield f"{len(bad)} scores are not finite numbers: {listed(bad)}."
    if span is not None:
        off = [f"{id_} ({score:g})" for id_, score in scores.items() if score < span[0] or score > span[1]]
        if off:
            yield f"{len(off)} scores are outside {span[0]:g}..{span[1]:g}: {listed(off)}."


def _number(text: str) -> float:
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan
