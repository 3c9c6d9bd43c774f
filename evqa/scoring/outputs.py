"""Files of scores: CSV, TSV, JSONL or Parquet by their suffix, each whole or not there at all."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from evqa.config.environment import hidden
from evqa.datasets.streaming import check_pyarrow
from evqa.errors import ConfigError
from evqa.files.plain import write_json
from evqa.files.stored import read_object
from evqa.files.whole import whole_file, whole_text
from evqa.scoring.outcome import ScoreOutcome, json_line
from evqa.scoring.score import Meaning

NUM_ROWS = 50_000  # of a group in a Parquet file
Write = Callable[[Path, Iterable[ScoreOutcome], Meaning, float | None], None]


def check_format(path: Path) -> None:
    """Find out before long work whether files of this kind can be written.

    Raises:
        ConfigError: the suffix is none of the known ones.
        MissingDependencyError: Parquet needs pyarrow.
    """
    if path.suffix.lower() not in WRITERS:
        raise ConfigError([f"--out {path}: unknown kind of file; name it one of *{', *'.join(WRITERS)}."])
    if path.suffix.lower() == ".parquet":
        check_pyarrow(path)


def holds_scores_alone(path: Path) -> bool:
    """Whether a file of this kind has no columns beside the id and the score."""
    return WRITERS[path.suffix.lower()] is _write_csv


def write_scores(path: Path, outcomes: Iterable[ScoreOutcome], *, meaning: Meaning, fill: float | None) -> None:
    """Write one row for every id that has a score, in order; with `fill` also for the others.

    CSV and TSV have the columns `Id` and the label's name; JSONL and Parquet also say what a score means.

    Raises:
        FileError: no space, no permission.
    """
    WRITERS[path.suffix.lower()](path, outcomes, meaning, fill)


def write_failures(out: Path, outcomes: Iterable[ScoreOutcome]) -> Path | None:
    """List beside a file of scores what has none, one JSON object a line; returns the list, or None without failures.

    Raises:
        FileError: no space, no permission.
    """
    place = failures_of(out)
    failed = (outcome for outcome in outcomes if outcome.value is None)
    first = next(failed, None)
    if first is None:
        place.unlink(missing_ok=True)
        return None
    with whole_text(place) as file:
        for outcome in itertools.chain([first], failed):
            row = {"id": outcome.id, "error": hidden(outcome.reason), "table": outcome.table, "row": outcome.row}
            file.write(json.dumps({name: value for name, value in row.items() if value is not None}) + "\n")
    return place


def failures_of(out: Path) -> Path:
    """Where the list of failures is."""
    return out.with_name(f"{out.name}.failures.jsonl")


def part_of(out: Path) -> Path:
    """Where the outcomes are gathered while a file of scores is made."""
    return out.with_name(f"{out.name}.part")


def about_of(out: Path) -> Path:
    """Where it is said what a file of scores was made of."""
    return out.with_name(f"{out.name}.about.json")


def write_about(out: Path, about: Mapping[str, Any]) -> None:
    """Say beside a file of scores what it was made of. Raises FileError."""
    write_json(about_of(out), about)


def read_about(out: Path) -> dict[str, Any] | None:
    """Return what `write_about` wrote; None where there is nothing, or the scores have gone. Raises FileError."""
    return read_object(about_of(out)) if out.exists() and about_of(out).exists() else None


def _written(outcomes: Iterable[ScoreOutcome], fill: float | None) -> Iterator[tuple[ScoreOutcome, float, bool]]:
    """Yield (outcome, score, whether it was filled in) of what stands in a file."""
    for outcome in outcomes:
        if outcome.value is not None:
            yield outcome, outcome.value, False
        elif fill is not None and not outcome.is_extra:
            yield outcome, fill, True


def _write_cells(file: TextIO, rows: Iterator[tuple[ScoreOutcome, float, bool]], label: str, separator: str) -> None:
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerow(["Id", label])
    writer.writerows((outcome.id, repr(value)) for outcome, value, _ in rows)


def _write_csv(path: Path, outcomes: Iterable[ScoreOutcome], meaning: Meaning, fill: float | None) -> None:
    with whole_text(path) as file:
        _write_cells(file, _written(outcomes, fill), meaning.scale.name, "," if path.suffix.lower() == ".csv" else "\t")


def _write_jsonl(path: Path, outcomes: Iterable[ScoreOutcome], meaning: Meaning, fill: float | None) -> None:
    scale = meaning.scale
    with whole_text(path) as file:
        for outcome, value, is_filled in _written(outcomes, fill):
            row = {"id": outcome.id, "label": scale.name, "range": list(scale.range), "score": value, "filled": True}
            file.write((json.dumps(row) if is_filled else json_line(outcome, meaning)) + "\n")


def _write_parquet(path: Path, outcomes: Iterable[ScoreOutcome], meaning: Meaning, fill: float | None) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kinds = {"id": pyarrow.string(), "score": pyarrow.float64(), "outside": pyarrow.bool_()}
    calibrated = ("calibrated", "low", "high") if meaning.calibration else ()
    kinds |= dict.fromkeys(calibrated, pyarrow.float64())
    kinds |= {"percentile": pyarrow.float64(), "missing": pyarrow.list_(pyarrow.string()), "filled": pyarrow.bool_()}
    scale = meaning.scale
    about = {"label": scale.name, "range": json.dumps(list(scale.range))}
    about |= {"interval": meaning.calibration.statement} if meaning.calibration else {}
    schema = pyarrow.schema(list(kinds.items()), metadata=about)
    rows = _written(outcomes, fill)
    with whole_file(path) as file, ParquetWriter(file, schema) as writer:
        while group := list(itertools.islice(rows, NUM_ROWS)):
            columns = {
                "id": [_unicode(outcome.id) for outcome, _, _ in group],
                "score": [value for _, value, _ in group],
                "outside": [meaning.is_outside(value) for _, value, _ in group],
                **_ends(calibrated, group, meaning),
                "percentile": [None if is_filled else meaning.percentile(value) for _, value, is_filled in group],
                "missing": [list(outcome.missing) for outcome, _, _ in group],
                "filled": [is_filled for _, _, is_filled in group],
            }
            writer.write_table(pyarrow.table(columns, schema=schema))


def _ends(
    names: Sequence[str], group: Sequence[tuple[ScoreOutcome, float, bool]], meaning: Meaning
) -> dict[str, list[float | None]]:
    """The columns of a calibration; null for a score that was filled in."""
    rows = [None if is_filled else meaning.calibrated(value) for _, value, is_filled in group]
    return {name: [row and row[place] for row in rows] for place, name in enumerate(names)}


def _unicode(name: str) -> str:
    r"""Parquet holds Unicode alone: a byte of a name that is not UTF-8 becomes `\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


WRITERS: dict[str, Write] = {
    ".csv": _write_csv,
    ".tsv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
