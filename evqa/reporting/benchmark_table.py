"""Accuracy on a benchmark of questions, by type, by concern and overall, beside what has been published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evqa.files.plain import write_json
from evqa.files.whole import write_table
from evqa.metrics.proportion import wilson_interval

FILE = Path(__file__).with_name("published_benchmarks.yaml")
OVERALL = "Overall"
METHOD = (
    "Accuracy in percent: the mean over questions of right (1) and wrong (0), and of a judged answer's mean mark (0 to "
    "1). In brackets: 95 % intervals (Wilson), as if every question had a video of its own."
)
COMPARISON = (
    "Published numbers are without the marks of their questions: no paired test is possible. They are {source}."
)


@dataclass(frozen=True, kw_only=True)
class QuestionResult:
    """What became of one question.

    kind, concerns: the groups that it counts in, beside overall. score: 0 to 1; None where there is none. names_none:
    an answer that names no option, which is wrong. failure: why there is no answer.
    """

    kind: str
    concerns: tuple[str, ...] = ()
    score: float | None = None
    names_none: bool = False
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """A group of questions. n: those with a score. lacks: types of questions in the group without any score.

    published: by system, in percent.
    """

    name: str
    n: int
    accuracy: float
    low: float
    high: float
    num_names_none: int
    num_failed: int
    lacks: tuple[str, ...] = ()
    published: Mapping[str, float] = field(default_factory=dict)


def group_rows(
    results: Sequence[QuestionResult], *, kinds: Sequence[str], concerns: Sequence[str], published: Mapping[str, Any]
) -> list[GroupRow]:
    """Gather results by type, concern and overall; a group without questions has no row.

    kinds, concerns: those that come first, in this order. published: see `read_published`. A group of which a type of
    questions has no score has no published numbers beside it: theirs are of all types.
    """
    named = [*concerns, *(name for result in results for name in result.concerns)]
    groups = {kind: [result for result in results if result.kind == kind] for kind in kinds}
    groups |= {name: [result for result in results if name in result.concerns] for name in dict.fromkeys(named)}
    groups[OVERALL] = list(results)
    return [_row(name, members, published) for name, members in groups.items() if members]


def _row(name: str, members: Sequence[QuestionResult], published: Mapping[str, Any]) -> GroupRow:
    scores = [member.score for member in members if member.score is not None]
    mean = sum(scores) / len(scores) if scores else math.nan
    low, high = wilson_interval(mean, len(scores))
    lacks = {member.kind for member in members} - {member.kind for member in members if member.score is not None}
    beside = {system: numbers[name] for system, numbers in published.items() if name in numbers and not lacks}
    return GroupRow(
        name=name,
        n=len(scores),
        accuracy=mean,
        low=low,
        high=high,
        num_names_none=sum(member.names_none for member in members),
        num_failed=sum(bool(member.failure) for member in members),
        lacks=tuple(sorted(lacks)),
        published=beside,
    )


def read_published(benchmark: str, split: str) -> tuple[dict[str, dict[str, float]], str]:
    """Read what is printed of a split: {system: {group: percent}}, and the source."""
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))[benchmark]
    return found[split], found["source"]


def show(rows: Sequence[GroupRow], console: Console) -> None:
    """Print the table in 80 columns."""
    systems = list(dict.fromkeys(system for row in rows for system in row.published))
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    published = ["published\n" + system.replace("-", "-\n") for system in systems]  # columns of at most nine letters
    for name in ("questions", "n", "accuracy", "", *published):
        table.add_column(name, justify="left" if name == "questions" else "right")
    for row in rows:
        ends = "" if not row.n else f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"
        beside = [f"{row.published[system]:.2f}" if system in row.published else "" for system in systems]
        table.add_row(row.name, str(row.n), f"{100 * row.accuracy:.2f}" if row.n else "-", ends, *beside)
    console.print(table)


def sentences(rows: Sequence[GroupRow], *, source: str) -> Iterator[str]:
    """Yield what the table does not say by itself."""
    overall = rows[-1]
    if overall.lacks:
        named = ", ".join(overall.lacks)
        yield f"Without any score: {named}. Groups with such questions are of the others alone, and not comparable."
    yield METHOD
    if any(row.published for row in rows):
        yield COMPARISON.format(source=source)


def write(rows: Sequence[GroupRow], folder: Path, *, about: Mapping[str, Any]) -> None:
    """Write table.csv and table.json, numbers in percent. about: what is told beside them. Raises FileError."""
    plain = [_plain(row) for row in rows]
    names = list(dict.fromkeys(name for row in plain for name in row))
    write_table(folder / "table.csv", names, ([_cell(row.get(name)) for name in names] for row in plain))
    write_json(folder / "table.json", {**about, "rows": plain})


def _plain(row: GroupRow) -> dict[str, Any]:
    numbers = {name: 100 * getattr(row, name) for name in ("accuracy", "low", "high")}
    counts = {"n": row.n, "num_names_no_option": row.num_names_none, "num_failed": row.num_failed}
    published = {f"published {system}": value for system, value in row.published.items()}
    return {"questions": row.name, **counts, **numbers, **published}


def _cell(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
