"""Where a report's numbers come from: of each run its date, software, command, checkpoint, machine and cost.

A run folder may be of anybody: what is no text or number is not recorded, and all of it is shown as text.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evqa.config.paths import sessions_file
from evqa.errors import FileError
from evqa.files.stored import read_object, read_objects
from evqa.machine.software import commit, version
from evqa.reporting.chosen import chosen
from evqa.reporting.runs import Run

SECRET = re.compile(r"(?i)(.*(?:password|secret|token|api_?key)=).+")
LOGIN = re.compile(r"(://)[^/@\s]+@")  # of an address
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunOrigin:
    """What one run recorded; None for what it did not. Times are in UTC; sums are over sessions that said their end.

    processor: with the number of cores, or the cards. num_open: sessions without an end (killed, or still running).
    cpu_seconds: of the first process and those that it started and that ended; peak_bytes: of the first process alone.
    """

    run: str
    command: str
    began: str | None
    ended: str | None
    evqa: str | None
    commit: str | None
    checkpoint: str | None
    place: str | None
    checksum: str | None
    processor: str | None
    hosts: tuple[str, ...]
    precision: str | None
    num_sessions: int
    num_open: int
    seconds: float | None
    cpu_seconds: float | None
    gpu_seconds: float | None
    peak_bytes: float | None
    peak_gpu_bytes: float | None
    items_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Of a report (when, by which command and software) and of the runs in its tables."""

    date: str
    command: str
    evqa: str | None
    commit: str | None
    runs: tuple[RunOrigin, ...]


def provenance(runs: Sequence[Run], *, command: Sequence[str], split: str, metric: str) -> Provenance:
    """Of a report that is made now with this command line, and of the runs in its tables."""
    return Provenance(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line("evqa report", command),
        evqa=version("evqa"),
        commit=commit(),
        runs=tuple(origin_of(run, split=split, metric=metric) for run in runs),
    )


def origin_of(run: Run, *, split: str, metric: str) -> RunOrigin:
    """Read what a run has recorded of itself."""
    facts, sessions = _facts(run.path), _sessions(run.path)
    packages, record, trainer = (
        _mapping(part) for part in (facts.get("packages"), run.record, run.config.get("trainer"))
    )
    best = chosen(split, record=record, config=run.config, history=run.history, metric=metric)
    ended = [one for one in sessions if _number(one, "seconds") is not None]
    speeds = [speed for row in run.history if (speed := _number(row, "speed/samples_per_second")) is not None]
    return RunOrigin(
        run=run.name,
        command=command_line("evqa train", run.overrides),
        began=_text(sessions[0], "began") if sessions else None,
        ended=_text(sessions[-1], "ended") if sessions else None,
        evqa=_text(packages, "evqa"),
        commit=_text(facts, "commit"),
        checkpoint=_text(record, "checkpoint"),
        place=best.place if best else None,
        checksum=_text(record, "checkpoint_sha256"),
        processor=_processor(facts, trainer, sessions),
        hosts=tuple(dict.fromkeys(host for one in sessions if (host := _text(one, "host")))),
        precision=_text(trainer, "precision"),
        num_sessions=len(sessions),
        num_open=len(sessions) - len(ended),
        seconds=_total(ended, "seconds"),
        cpu_seconds=_total(ended, "cpu_seconds"),
        gpu_seconds=sum(map(_gpu_seconds, ended)) if ended else None,
        peak_bytes=_largest(ended, "peak_bytes"),
        peak_gpu_bytes=_largest(ended, "peak_gpu_bytes"),
        items_per_second=sorted(speeds)[len(speeds) // 2] if speeds else None,
    )


def command_line(program: str, words: Sequence[str]) -> str:
    """A command as a shell reads it, without passwords: neither those of keys so named nor those in addresses."""
    return " ".join([program, *(shlex.quote(LOGIN.sub(r"\1***@", SECRET.sub(r"\1***", word))) for word in words)])


def _facts(folder: Path) -> dict[str, Any]:
    try:
        return read_object(folder / "environment.json")
    except FileError:
        return {}


def _sessions(folder: Path) -> list[dict[str, Any]]:
    """What each session said as it began and, where it came so far, as it ended."""
    try:
        rows = read_objects(sessions_file(folder))
    except FileError:
        return []
    sessions = list[dict[str, Any]]()
    for row in rows:
        if "began" in row:
            sessions.append(row)
        elif sessions:
            sessions[-1] |= row
    return sessions


def _processor(facts: Row, trainer: Row, sessions: Sequence[Row]) -> str | None:
    """The cards where a run used them, as far as the settings or its sessions say; else the processor."""
    gpus, cores = facts.get("gpus"), _number(facts, "num_cpus")
    on_cpu = (sessions[-1].get("device") if sessions else trainer.get("accelerator")) == "cpu"
    if gpus and isinstance(gpus, list) and not on_cpu:
        many, num_nodes = _number(trainer, "devices") or 1, _number(trainer, "num_nodes") or 1
        cards = ", ".join(f"{count} x {name}" for name, count in Counter(map(str, gpus[: int(many)])).items())
        return f"{cards} on each of {num_nodes:g} nodes" if num_nodes > 1 else cards
    name = _text(facts, "cpu")
    return f"{name}, {cores:g} cores" if name and cores else name


def _gpu_seconds(session: Row) -> float:
    processes = _number(session, "num_processes") or 1
    return processes * (_number(session, "seconds") or 0.0) if session.get("device") == "cuda" else 0.0


def _total(sessions: Sequence[Row], name: str) -> float | None:
    found = [number for one in sessions if (number := _number(one, name)) is not None]
    return math.fsum(found) if found else None


def _largest(sessions: Sequence[Row], name: str) -> float | None:
    return max((number for one in sessions if (number := _number(one, name)) is not None), default=None)


def _mapping(value: object) -> Row:
    return value if isinstance(value, Mapping) else {}


def _text(row: Row, name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    if not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None
