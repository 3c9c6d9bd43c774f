"""What `benchmark gpu` found as a Markdown file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evqa.benchmarking.card_state import NOT_KNOWN
from evqa.benchmarking.cards import card_of
from evqa.benchmarking.gpu.results import Result, Results
from evqa.benchmarking.measure import number
from evqa.benchmarking.show_steps import part_rows
from evqa.benchmarking.step_report import PartTime
from evqa.files.whole import write_whole

Table = tuple[list[str], list[list[str]]]  # header, lines


def write_markdown(results: Results, path: Path) -> None:
    """Write all parts that have rows. Raises FileError."""
    sections = [_machine(results), *(text for text in (_steps(results), *_others(results)) if text)]
    write_whole(path, "\n\n".join([*sections, _left_out(results)]).rstrip() + "\n")


def _machine(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    known = ("driver", "power limit, W", "highest SM clock, MHz", "cuda", "cpu", "python", "commit")
    facts = [f"{name} {machine[name]}" for name in known if name in machine]
    size = "random weights of the published size" if machine.get("size") == "published" else "**tiny models**"
    return f"# {machine.get('device', NOT_KNOWN)}\n\n{size}; {versions}; {'; '.join(facts)}."


def _steps(results: Results) -> str:
    """Write training rows beside what was predicted of them, and the parts of the first one."""
    rows = [row for row in [*results.of("train"), *results.of("qlora")] if row.figures]
    if not rows:
        return ""
    card = next((row.figures["card"] for row in results.of("count") if row.figures), None)
    predicted = "predicted" if card is None else f"predicted on an {card}"
    header = ["row", "batch", "ms a step", "samples/s", predicted, "MFU", "HFU", "peak GB", "reserved GB"]
    header += ["predicted GB", "kernels run", "SM MHz", "W"]
    peak_is_known = card_of(results.machine.get("device", "")) is not None
    lines = [_step_line(row, results.figures("count", row.name), peak_is_known=peak_is_known) for row in rows]
    text = f"## Training\n\n{_table((header, lines))}"
    first = next((row for row in rows if row.figures["parts"]), None)
    if first is not None:
        parts = [PartTime(**part) for part in first.figures["parts"]]
        text += f"\n\n### Where the time of a step goes, ms: {first.name}\n\n"
        text += _table((["part", "forward", "backward", "share"], [list(line) for line in part_rows(parts)]))
    return text


def _step_line(row: Result, counted: dict[str, Any] | None, *, peak_is_known: bool) -> list[str]:
    figures, speed = row.figures, row.figures["samples_per_second"]
    predicted = [NOT_KNOWN] * 4
    if counted is not None:
        flops = (counted["model_flops"], counted["all_flops"])
        shares = [f"{one * speed / counted['peak_flops']:.1%}" if peak_is_known else NOT_KNOWN for one in flops]
        predicted = [number(counted["samples_per_second"]), *shares]
        predicted += [_gb(counted["peak_bytes"])]
    return [
        *(row.name, str(figures["batch_size"]), number(figures["step_ms"]["median"]), number(speed)),
        *(*predicted[:3], _gb(figures["peak_bytes"]), _gb(figures["reserved_bytes"]), predicted[3]),
        *(_share(figures["busy_share"]), _state(figures, "SM clock, MHz"), _state(figures, "power, W")),
    ]


def _state(figures: dict[str, Any], name: str) -> str:
    return number(figures["card"][name]["median"]) if name in figures["card"] else NOT_KNOWN


def _share(share: float | None) -> str:
    return NOT_KNOWN if share is None else f"{share:.0%}"


def _gb(num_bytes: float | None) -> str:
    return NOT_KNOWN if num_bytes is None else number(num_bytes / 1e9)


def _others(results: Results) -> list[str]:
    return [_score(results), _baseline(results), _parity(results), _qwen(results)]


def _score(results: Results) -> str:
    rows = [row for row in results.of("score") if row.figures]
    lines = [
        [row.name, number(row.figures["samples_per_second"]), number(row.figures["step_ms"]["median"]),
         _gb(row.figures["peak_bytes"]), _share(row.figures["busy_share"])]
        for row in rows
    ]  # fmt: skip
    header = ["row", "samples/s", "ms a batch", "peak GB", "kernels run"]
    return f"## Scoring\n\n{_table((header, lines))}" if rows else ""


def _baseline(results: Results) -> str:
    rows = [row for row in results.of("baseline") if row.figures]
    if not rows:
        return ""
    slowest = min(row.figures["samples_per_second"] for row in rows)
    lines = [
        [row.name, number(row.figures["samples_per_second"]), f"{row.figures['samples_per_second'] / slowest:.1f}",
         number(row.figures["reading_ms"])]
        for row in rows
    ]  # fmt: skip
    header = ["order of work", "samples/s", "times the slowest", "CPU, ms a clip in one thread"]
    note = "From frames and sound in memory; decoding, which the published code does twice, is left out of both."
    return f"## Beside the published code's order of work\n\n{_table((header, lines))}\n\n{note}"


def _parity(results: Results) -> str:
    rows = [row for row in results.of("parity") if row.figures]
    if not rows:
        return ""
    figures = rows[0].figures
    lines = [
        [name, _correlation(f["srocc"]), number(f["largest_difference"]), f"{f['distinct']}"]
        for name, f in figures["precisions"].items()
    ]
    header = ["precision", "SROCC with float32", "largest difference", "distinct scores"]
    span = number(figures["spread"])
    note = f"{figures['num_clips']} clips of noise, whose float32 scores span {span}; a trained model's span more."
    return f"## Scores in bfloat16\n\n{_table((header, lines))}\n\n{note}"


def _correlation(value: float | None) -> str:
    return NOT_KNOWN if value is None or math.isnan(value) else f"{value:.4f}"


def _qwen(results: Results) -> str:
    rows = [row for row in results.of("qwen") if row.figures]
    lines = [[row.name, number(row.figures["samples_per_second"]), number(row.figures["ms"])] for row in rows]
    return f"## Qwen's encoders\n\n{_table((['encoder', 'clips/s', 'ms a batch'], lines))}" if rows else ""


def _left_out(results: Results) -> str:
    """Name every row without figures, with the reason."""
    without = [f"- {row.part}, {row.name}: {row.state} ({row.why})" for row in results.rows if not row.figures]
    return "## Not measured\n\n" + "\n".join(without) if without else ""


def _table(table: Table) -> str:
    header, lines = table
    return "\n".join(_line(cells) for cells in [header, ["---", *["---:"] * (len(header) - 1)], *lines])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
