"""What is known about a sweep, in its folder: the members, where their runs lie, and how they ended."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from evqa.config import identity
from evqa.config.environment import hidden
from evqa.errors import EvqaError, RunError
from evqa.files.names import shown_lines
from evqa.files.plain import write_json
from evqa.files.stored import read_text

from ._ending import EndedRun, homes_of, print_next, print_runs
from ._naming import Naming, words_of

log = logging.getLogger("evqa.sweep")
RANKS = ("planned", "failed", "finished")


@dataclass(kw_only=True)
class Member:
    """One run of a sweep. folder: as in `evqa.config.identity.folder`. error: a sentence."""

    overrides: list[str]
    folder: str
    status: Literal["planned", "finished", "failed"] = "planned"
    value: float | None = None
    error: str | None = None

    def end(self, result: JobReturn) -> None:
        """Take over how the run ended."""
        self.status, self.error = "finished", None
        if result.status != JobStatus.COMPLETED:
            self.status, self.error = "failed", reason(result)
        elif isinstance(result._return_value, int | float):
            self.value = float(result._return_value)

    def __str__(self) -> str:
        return words_of(self.overrides)


@dataclass(kw_only=True)
class SweepOutcome:
    """What a sweeper returns. exit_code: 1 where members failed that should not."""

    members: Sequence[Member] = field(default_factory=list)
    exit_code: int = 0


def reason(result: JobReturn) -> str:
    """Why a job failed, in a sentence."""
    error = result._return_value
    text = hidden(error).strip() or type(error).__name__
    return text if isinstance(error, EvqaError | JobError) else f"{type(error).__name__}: {text}"


class JobError(Exception):
    """A job's failure as text, for where the exception itself cannot travel or never existed."""


def failed(error: Exception, overrides: Sequence[str] = ()) -> JobReturn:
    """The result of a job that ended by an exception, or died without one."""
    return JobReturn(overrides=list(overrides), status=JobStatus.FAILED, _return_value=error)


def run_folder(job: DictConfig, choices: Mapping[str, object]) -> str:
    """Where a run lies; job: its configuration without Hydra's node, choices: the option of each group."""
    return str(identity.folder(identity.settle(job, choices)))


def write_members(folder: Path, members: Sequence[Member]) -> None:
    """Write sweep.json: one entry a run, in order, those of earlier sweeps into this folder too.

    What an entry says is replaced by more only: a run that has finished stays so, whatever becomes of a later attempt.
    """
    rows = {row["folder"]: row for row in _read_members(folder / "sweep.json")}
    for member in members:
        earlier = rows.get(member.folder)
        if earlier is None or RANKS.index(earlier["status"]) <= RANKS.index(member.status):
            rows[member.folder] = asdict(member)
    write_json(folder / "sweep.json", list(rows.values()))


def _read_members(path: Path) -> list[dict[str, Any]]:
    """The entries of a record; a damaged one has none."""
    try:
        rows = json.loads(read_text(path)) if path.exists() else []
        return [row for row in rows if isinstance(row["folder"], str) and row["status"] in RANKS]
    except (ValueError, TypeError, KeyError):
        return []


def summarise(members: Sequence[Member], folder: Path, *, naming: Naming, monitor: str) -> None:
    """Print how the members ended and what to do next; why some have failed goes to the log."""
    broken = [member for member in members if member.status == "failed"]
    runs = [
        EndedRun(
            overrides=naming.differing(member.overrides), value=member.value, status=member.status, folder=member.folder
        )
        for member in members
    ]
    print_runs(runs, monitor=monitor, record=folder / "sweep.json")
    log.info("%d of %d runs finished; %s", len(members) - len(broken), len(members), folder / "sweep.json")
    reasons = dict[str, list[str]]()
    for member in broken:
        words = " ".join(naming.differing(member.overrides)) or str(member)
        reasons.setdefault(shown_lines(member.error or ""), []).append(words)
    for why, members_words in reasons.items():
        log.error("failed: %s\n    %s", "; ".join(members_words), why.replace("\n", "\n    "))
    if broken:
        log.info("The same command runs what is missing.")
    if len(broken) < len(members):
        homes = homes_of(runs)
        print_next("python", "-m", "evqa.report", *homes, "--out", f"{homes[0]}/report")


@contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder for one driver; the system lets go when the process dies.

    A POSIX lock, because flock() would be held on by data workers that outlive a killed driver. Raises RunError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".driver").open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{folder}: another process is running this sweep. Wait for it, or stop it.") from error
        yield
