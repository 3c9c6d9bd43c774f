"""Settings of a sweeper or launcher, for the module that does the work and imports the optional package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from evqa.config.metric_names import Monitored


@dataclass(kw_only=True, eq=False)
class SearchSettings:
    """How a search with Optuna proposes and stops trials; explained at `evqa_sweeps.search.OptunaSweeper`."""

    n_trials: Annotated[int, "1 <= n_trials"]
    n_jobs: Annotated[int, "1 <= n_jobs"] = 1
    direction: Literal["maximize", "minimize"] = "maximize"
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Annotated[int, "0 <= seed <= 4294967295"] = 0
    params: Mapping[str, str] | None = None
    prune: bool = False
    startup_trials: Annotated[int, "0 <= startup_trials"] = 5
    warmup: Annotated[float, "0 <= warmup <= 1"] = 0.3
    monitor: Monitored = "val/challenge"


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """How jobs are submitted and watched.

    folder: of submitit's files. shared: submitit's parameters that every kind of cluster has; special: SLURM's.
    """

    folder: str
    cluster: Literal["slurm", "local"]
    poll_seconds: float
    max_num_timeout: int
    shared: Mapping[str, Any]
    special: Mapping[str, Any]

    @property
    def num_tasks(self) -> int:
        """Processes a job, over all nodes."""
        return int(self.shared["nodes"] * self.shared["tasks_per_node"])
