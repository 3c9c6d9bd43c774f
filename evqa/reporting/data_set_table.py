"""A scorer on several data sets as one table, beside what its authors have published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evqa.config.metric_names import with_groups
from evqa.files.plain import write_json
from evqa.files.whole import write_table
from evqa.reporting.published_results import PublishedResult

WITH_INTERVAL = ("srocc", "plcc", "krocc")
FITTED = ("plcc_fitted_4", "rmse_fitted_4")
COMPARED = ("srocc", "plcc")  # with published numbers
COLUMNS = ("data set", "n", "SROCC", "PLCC", "PLCC\nfitted", "KROCC", "RMSE\nfitted")
METHOD = (
    "In brackets: 95 % intervals, bootstrap over items (over groups, where n says how many). SROCC, PLCC and KROCC are "
    "of raw scores. Fitted: after the increasing four-parameter logistic curve; the RMSE is on the label's own scale. "
    "These two have no intervals: the curve is not fitted again in each resample."
)
COMPARISON = (
    "A published result is one number without the scores of its items, so no paired test is possible. 'inside': the "
    "interval here holds it, and these items cannot tell the two apart (paired scores might). 'outside': more than the "
    "chance of the items, where both are of the same ones; of other items, one in six of an equal scorer falls outside."
)


@dataclass(frozen=True, kw_only=True)
class DataSetRow:
    """One data set. record: what `evqa.runs.data_sets` writes beside its predictions; None: see `problem`."""

    name: str
    record: Mapping[str, Any] | None = None
    problem: str = ""
    published: PublishedResult | None = None

    def value(self, metric: str, end: str = "value") -> float:
        """A number of the record, or an end (low, high) of its interval; NaN where it does not exist."""
        if self.record is None:
            return math.nan
        found = (self.record["metrics"] | self.record["extras"])[metric][end]
        return math.nan if found is None else float(found)

    def printed(self, metric: str) -> float:
        """The published number; NaN where there is none."""
        value = getattr(self.published, metric, None)
        return math.nan if value is None else float(value)

    def verdict(self, metric: str) -> str | None:
        """Where the published number lies: "inside" or "outside" the interval here; None without one of the two."""
        low, high, printed = self.value(metric, "low"), self.value(metric, "high"), self.printed(metric)
        if math.isnan(low + high + printed):
            return None
        return "inside" if low <= printed <= high else "outside"


def show(rows: Sequence[DataSetRow], console: Console) -> None:
    """Print the table, then what its numbers mean, in 80 columns."""
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for place, name in enumerate(COLUMNS):
        table.add_column(name, overflow="fold", no_wrap=place > 0)
    for row in rows:
        for cells in _lines(row):
            table.add_row(*cells)
        table.add_section()
    console.print(table)
    for sentence in sentences(rows):
        console.print(f"- {sentence}")


def _lines(row: DataSetRow) -> Iterator[list[str]]:
    """Yield the lines of one data set, each a cell a column."""
    if row.record is None:
        yield [row.name, "-", "not scored", "", "", "", ""]
        return
    values = [_number(row.value(name)) for name in ("srocc", "plcc", "plcc_fitted_4", "krocc", "rmse_fitted_4")]
    yield [row.name, with_groups(row.record["n"], row.record.get("num_groups")), *values]
    srocc, plcc, krocc = (_ends(row, name) for name in WITH_INTERVAL)
    yield [row.record["part"], "", srocc, plcc, "", krocc, ""]
    if failed := row.record["num_failed"]:
        yield [f"{failed} failed", "", "", "", "", "", ""]
    if row.published is not None:
        n = "" if row.published.n is None else str(row.published.n)
        yield ["published", n, *(_published(row, name) for name in COMPARED), "", "", ""]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _ends(row: DataSetRow, metric: str) -> str:
    low, high = row.value(metric, "low"), row.value(metric, "high")
    return "" if math.isnan(low) else f"[{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    """Three digits, because two ends must fit into a column: .123, -.123, 1.00."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text[:-1]


def _published(row: DataSetRow, metric: str) -> str:
    return " ".join(filter(None, [_number(row.printed(metric)), row.verdict(metric)]))


def sentences(rows: Sequence[DataSetRow]) -> list[str]:
    """What the table does not say by itself: differences, reasons, doubts, and how the numbers were computed."""
    said = [sentence for row in rows for sentence in _about(row)]
    said += [METHOD] if any(row.record for row in rows) else []
    compared = [row.published for row in rows if row.record and row.published]
    if compared:
        said += [COMPARISON, *(f"{one.system}: {one.source}." for one in dict.fromkeys(map(_origin, compared)))]
    return said


def _origin(published: PublishedResult) -> PublishedResult:
    return PublishedResult(system=published.system, source=published.source)


def _about(row: DataSetRow) -> Iterator[str]:
    if row.record is None:
        yield f"{row.name} was not scored: {row.problem}"
        return
    numbers = row.record["metrics"] | row.record["extras"]
    missing = [name for name in FITTED if numbers[name]["value"] is None]
    reasons = dict.fromkeys(numbers[name].get("reason") for name in (*WITH_INTERVAL, *missing))
    yield from (f"{row.name}: {reason}." for reason in reasons if reason)
    yield from (f"{row.name}: {note}" for note in row.record["notes"])
    if failed := row.record["failures"]:
        yield f"{row.name}: {len(failed)} failed, the first: {failed[0]['id'] or '(no id)'}: {failed[0]['reason']}."
    yield from (f"{row.name}: {count} scored, but: {lack}." for lack, count in row.record["missing"].items())
    yield from (_comparison(row, metric) for metric in COMPARED if row.verdict(metric))
    if row.published is not None:
        yield from _other_items(row.name, n=row.record["n"], published=row.published)


def _comparison(row: DataSetRow, metric: str) -> str:
    value, printed = row.value(metric), row.printed(metric)
    verdict = row.verdict(metric)
    return (
        f"{row.name}: published {metric.upper()} {printed:.3f} lies {verdict} {_ends(row, metric)}; here {value:.3f}, "
        f"{value - printed:+.3f}."
    )


def _other_items(name: str, *, n: int, published: PublishedResult) -> Iterator[str]:
    if published.remark:
        yield f"{name}: the published numbers are {published.remark}."
    if published.n is None:
        yield f"{name}: of which items the published numbers are is not known; 'outside' may be a matter of the items."
    elif published.n != n:
        yield (
            f"{name}: the published list has {published.n} items, here {n} are scored; what differs may be a matter of "
            "the items."
        )


def write(rows: Sequence[DataSetRow], folder: Path, *, about: Mapping[str, Any]) -> None:
    """Write table.csv and table.json. about: what scored, for the latter. Raises FileError."""
    plain = [_plain(row) for row in rows]
    names = list(dict.fromkeys(name for row in plain for name in row))
    write_table(folder / "table.csv", names, ([_cell(row.get(name)) for name in names] for row in plain))
    content = [
        one | {"published": row.published and asdict(row.published)} for one, row in zip(plain, rows, strict=True)
    ]
    write_json(folder / "table.json", {**about, "rows": content, "sentences": sentences(rows)})


def _plain(row: DataSetRow) -> dict[str, Any]:
    """One row of table.csv; a number that does not exist is None."""
    record = row.record or {}
    label = record.get("label", {"name": None, "range": [None, None]})
    numbers = {name: row.value(name) for name in ("srocc", "plcc", *FITTED, "krocc")}
    ends = {f"{name}_{end}": row.value(name, end) for name in WITH_INTERVAL for end in ("low", "high")}
    printed = {f"published_{name}": row.printed(name) for name in COMPARED}
    verdicts = {f"published_{name}_lies": row.verdict(name) for name in COMPARED}
    known = {"data": row.name, **{name: record.get(name) for name in ("part", "n", "num_failed")}}
    scale = {"label": label["name"], "label_low": label["range"][0], "label_high": label["range"][1]}
    return known | numbers | ends | scale | printed | verdicts | {"problem": row.problem or None}


def _cell(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
