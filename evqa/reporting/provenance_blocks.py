"""Where a report's numbers come from, as the last part of its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evqa.files.progress import duration
from evqa.reporting.document import Block, Bullets, Heading, TableBlock
from evqa.reporting.provenance import Provenance, RunOrigin

UNKNOWN = "not recorded"
MANY_DIGITS = 12  # of a commit or a checksum


def provenance_blocks(found: Provenance) -> list[Block]:
    """The report's own origin and what its runs cost; what they have in common; what each has of its own."""
    rows = [{name: of(one) or UNKNOWN for name, of in FACTS.items()} for one in found.runs]
    same = [name for name in FACTS if len({row[name] for row in rows}) == 1]
    shared = TableBlock(
        columns=("", f"all {len(rows)} runs" if len(rows) > 1 else rows[0]["run"]),
        rows=tuple((name, rows[0][name]) for name in same if name != "run"),
        left=2,
    )
    own = [name for name in FACTS if name not in same]
    each = TableBlock(
        columns=tuple(own),
        rows=tuple(tuple(row[name] for name in own) for row in rows),
        left=len(own),
        caption=f"What the {len(rows)} runs do not have in common",
        folded=True,
    )
    said = Bullets(items=(_report(found), *_cost(found.runs)))
    return [
        Heading(text="Where the numbers come from"),
        said,
        *([shared] if shared.rows else []),
        *([each] if len(own) > 1 else []),
    ]


def _report(found: Provenance) -> str:
    software = _software(found.evqa, found.commit)
    return f"This report: {_minute(found.date)}, evqa {software or UNKNOWN}, by: {found.command}"


def _cost(runs: Sequence[RunOrigin]) -> list[str]:
    """What the runs took together, as far as they recorded it."""
    known = [one for one in runs if one.seconds is not None]
    if not known:
        return [f"What the run{'s' * (len(runs) > 1)} took is {UNKNOWN}."]
    cpu, gpu = (sum(getattr(one, name) or 0.0 for one in known) / 3600 for name in ("cpu_seconds", "gpu_seconds"))
    least = "at least " if len(known) < len(runs) or any(one.num_open for one in known) else ""
    took = duration(sum(one.seconds or 0.0 for one in known))
    said = f"Training and scoring took {least}{took}, {gpu:.2g} GPU hours and {cpu:.2g} CPU hours in all."
    missing = len(runs) - len(known)
    return [said + (f" Of {missing} of {len(runs)} runs that is {UNKNOWN}." if missing else "")]


def _software(evqa: str | None, commit: str | None) -> str | None:
    """`0.1.0, commit 4b9bc9840436 with changes`; an installed package has no commit."""
    if evqa is None:
        return None
    if commit is None:
        return f"{evqa} as a package"
    sha, plus, _ = commit.partition("+")
    return f"{evqa}, commit {sha[:MANY_DIGITS]}{' with changes' if plus else ''}"


def _minute(time: str | None) -> str | None:
    """`2026-11-26 08:02 UTC` of a time as it is recorded."""
    return f"{time[:16].replace('T', ' ')} UTC" if time else None


def _time(one: RunOrigin) -> str | None:
    if one.seconds is None:
        return None
    sessions = f" in {one.num_sessions} sessions" if one.num_sessions > 1 else ""
    still = f", {one.num_open} of them without a recorded end" if one.num_open else ""
    return f"{'at least ' if one.num_open else ''}{duration(one.seconds)}{sessions}{still}"


def _checkpoint(one: RunOrigin) -> str | None:
    digest = one.checksum and f"SHA-256 {one.checksum[:MANY_DIGITS]}"
    return ", ".join(part for part in (one.checkpoint, one.place, digest) if part)


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds) if seconds else "none"


def _memory(one: RunOrigin) -> str | None:
    parts = ((one.peak_bytes, ""), (one.peak_gpu_bytes, " on the first card"))
    return ", ".join(f"{size / 1e9:.2g} GB{where}" for size, where in parts if size is not None)


FACTS: dict[str, Callable[[RunOrigin], str | None]] = {
    "run": lambda one: one.run,
    "began": lambda one: _minute(one.began),
    "ended": lambda one: _minute(one.ended),
    "took": _time,
    "GPU time": lambda one: _duration(one.gpu_seconds),
    "CPU time": lambda one: _duration(one.cpu_seconds),
    "peak memory": _memory,
    "items/s, training": lambda one: None if one.items_per_second is None else f"{one.items_per_second:.3g}",
    "hardware": lambda one: one.processor,
    "host": lambda one: ", ".join(one.hosts),
    "precision": lambda one: one.precision,
    "checkpoint": _checkpoint,
    "evqa": lambda one: _software(one.evqa, one.commit),
    "command": lambda one: one.command,
}
