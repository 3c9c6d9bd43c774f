"""What is known about a sweep, in its folder: the members, where their runs lie, and how they ended."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from evqa.config import identity
from evqa.config.environment import hidden
from evqa.errors import EvqaError, RunError
from evqa.files.names import shown_lines
from evqa.files.plain import write_json

log = logging.getLogger("evqa.sweep")


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


def words_of(overrides: Sequence[str]) -> str:
    """A member's overrides as a user would type them, without what the machinery adds."""
    return " ".join(line for line in overrides if not line.startswith(("hydra.", "++callbacks.pruning.")))


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
    """Write sweep.json: one entry a member, in order."""
    write_json(folder / "sweep.json", [asdict(member) for member in members])


def summarise(members: Sequence[Member], folder: Path) -> None:
    """Say how many members ended how, and why the failed ones did."""
    broken = [member for member in members if member.status == "failed"]
    log.info("%d of %d runs finished; %s", len(members) - len(broken), len(members), folder / "sweep.json")
    for member in broken:
        log.error("failed: %s\n    %s", member, shown_lines(member.error or "").replace("\n", "\n    "))


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
