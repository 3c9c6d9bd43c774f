"""`benchmark gpu`: run the parts that are asked for, row by row, within a time; what is there is not run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from evqa.benchmarking.card_state import about_machine
from evqa.benchmarking.cards import CARDS, card_of
from evqa.benchmarking.gpu.baseline import baseline
from evqa.benchmarking.gpu.bench import Bench
from evqa.benchmarking.gpu.markdown import write_markdown
from evqa.benchmarking.gpu.plot import write_plot
from evqa.benchmarking.gpu.qwen import qwen
from evqa.benchmarking.gpu.results import Result, Results, State
from evqa.benchmarking.gpu.scoring import parity, score
from evqa.benchmarking.gpu.settings import NEEDS_GPU, PARTS, Row
from evqa.benchmarking.gpu.training import count, train
from evqa.benchmarking.steps import free_memory
from evqa.errors import ConfigError, EvqaError, RunError
from evqa.machine.software import commit

Measure = Callable[[Bench, Row], dict[str, Any]]


@dataclass
class TimeShares:
    """Seconds for all chosen parts. Each has its share; what one leaves, the next ones may use."""

    seconds: float
    parts: Sequence[str]
    started: float = field(default_factory=time.monotonic)

    def left(self, part: str) -> float:
        """Seconds until a part must make room."""
        shares = [PARTS[name][1] for name in self.parts]
        until = sum(shares[: self.parts.index(part) + 1]) / sum(shares)
        return self.started + self.seconds * until - time.monotonic()


def check_gpu(bench: Bench, parts: Sequence[str]) -> None:
    """Refuse a device that is not there, and a size that it would not finish.

    Raises:
        ConfigError: with what to do instead.
    """
    asked = [part for part in parts if part in NEEDS_GPU]
    if bench.device_name == "cuda" and asked and not torch.cuda.is_available():
        raise ConfigError(
            [f"benchmark gpu: this machine has no GPU that torch can use, and {', '.join(asked)} need one. "
             "'--only count' runs without; '--device cpu --size tiny' shows that everything runs."]
        )  # fmt: skip
    if bench.device_name == "cpu" and not bench.is_tiny and asked:
        raise ConfigError(["--device cpu: models of the published size would take days; add --size tiny."])


def run_parts(
    bench: Bench, folder: Path, parts: Sequence[str], *, seconds: float, again: bool, console: Console
) -> None:
    """Run the rows of parts that are not there yet, and write JSON, Markdown and a plot.

    Raises:
        ConfigError: as `check_gpu`.
        RunError: rows failed; all others are written.
    """
    check_gpu(bench, parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"--out: {folder} cannot be made ({error.strerror})."]) from error
    results = Results(folder)
    if any(part in NEEDS_GPU for part in parts):
        about = about_machine(bench.device) | {"size": bench.size, "commit": commit() or "not known"}
        results.begin(about)
    if again:
        results.drop(parts)
    budget = TimeShares(seconds, parts)
    for part in parts:
        _run_part(bench, part, results, budget, console)
    write_markdown(results, folder / "gpu.md")
    console.print(f"{results.path}, {folder / 'gpu.md'}, {write_plot(results, folder / 'gpu.png')}")
    failed = [f"{row.part}: {row.name} ({row.why})" for row in results.rows if row.state == "failed"]
    if failed:
        raise RunError(f"{len(failed)} rows failed: {'; '.join(failed)}")


def measure_of(part: str, results: Results) -> Measure:
    """Choose how a part's rows are measured."""
    known: dict[str, Measure] = {
        "train": train,
        "qlora": train,
        "score": score,
        "parity": parity,
        "baseline": baseline,
        "qwen": qwen,
        "count": partial(count, card_name=card_name(results)),
    }
    return known[part]


def card_name(results: Results) -> str:
    """Name the card of our list that was measured on; an H200 for others."""
    card = card_of(results.machine.get("device", ""))
    return next((name for name, known in CARDS.items() if known is card), "H200")


def _run_part(bench: Bench, part: str, results: Results, budget: TimeShares, console: Console) -> None:
    measure, longest = measure_of(part, results), 0.0
    for row in PARTS[part][0]:
        if results.is_final(part, row.name):
            continue
        result = _why_not(part, row)
        if result is None and budget.left(part) < longest:
            result = _result(part, row, "left out", "no time was left")
        if result is None:
            result = _try(bench, part, row, measure)
            longest = max(longest, result.seconds)
        results.add(result)
        console.print(f"{part}: {row.name}: {_told(result)}")


def _why_not(part: str, row: Row) -> Result | None:
    """Say why a row cannot be run here; None where it can."""
    if part == "count":
        return None if row.change is None else _result(part, row, "left out", "no setting of it can be counted")
    if row.needs is not None and find_spec(row.needs) is None:
        return _result(part, row, "left out", f"needs the package {row.needs}")
    return None


def _try(bench: Bench, part: str, row: Row, measure: Measure) -> Result:
    """Measure a row; whatever it meets must not cost the others their time on a GPU."""
    started = time.monotonic()
    figures, state, why = dict[str, Any](), "measured", ""
    try:
        figures = measure(bench, row)
    except torch.OutOfMemoryError:
        state, why = "out of memory", "does not fit the card's memory"
    except EvqaError as error:
        state, why = ("left out" if part == "count" else "failed"), str(error)
    except Exception as error:  # noqa: BLE001 - see above
        state, why = "failed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    free_memory()
    return _result(part, row, state, why, seconds=time.monotonic() - started, figures=figures)  # type: ignore[arg-type]


def _result(
    part: str, row: Row, state: State, why: str, *, seconds: float = 0.0, figures: dict[str, Any] | None = None
) -> Result:
    settings = [*row.recipe, *row.overrides, *([row.change] if row.change else [])]
    return Result(
        part=part, name=row.name, settings=settings, state=state, why=why, seconds=seconds, figures=figures or {}
    )


def _told(result: Result) -> str:
    speed = result.figures.get("samples_per_second")
    figure = f", {speed:.3g} samples/s" if speed else ""
    return f"{result.state}{f' ({result.why})' if result.why else ''}{figure}, {result.seconds:.0f} s"
