"""Run the members of a sweep as jobs of a SLURM array, through submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ._naming import NamingLauncher
from ._settings import QueueSettings


class SlurmLauncher(NamingLauncher):
    """One job a member. A dead job is a failed member, not the end of the sweep.

    A driver that is started again waits for the jobs of its predecessor instead of submitting them twice. Jobs are
    found with squeue, so no accounting database is needed.

    timeout_min: after it, or when preempted, a job is put back into the queue and continues (at most
        `max_num_timeout` times for the time limit). signal_delay_s: how long before the limit it is asked to save.
    tasks_per_node: one a GPU; must be `trainer.devices`, as nodes must be `trainer.num_nodes`.
    setup: shell lines before the job's own. additional_parameters: any other option of sbatch by its long name.
    cluster: `local` starts the jobs on this machine, all at once, to try things out.
    """

    def __init__(
        self,
        *,
        submitit_folder: str,
        name: str = "evqa",
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        nodes: Annotated[int, "1 <= nodes"] = 1,
        tasks_per_node: Annotated[int, "1 <= tasks_per_node"] = 1,
        gpus_per_node: Annotated[int, "0 <= gpus_per_node"] | None = None,
        cpus_per_task: Annotated[int, "1 <= cpus_per_task"] | None = None,
        mem_gb: Annotated[float, "0 < mem_gb"] | None = None,
        timeout_min: Annotated[int, "1 <= timeout_min"] = 60,
        max_num_timeout: Annotated[int, "0 <= max_num_timeout"] = 100,
        signal_delay_s: Annotated[int, "0 <= signal_delay_s"] = 120,
        array_parallelism: Annotated[int, "1 <= array_parallelism"] = 256,
        setup: list[str] | None = None,
        additional_parameters: dict[str, Any] | None = None,
        poll_seconds: Annotated[float, "0 < poll_seconds"] = 10.0,
        cluster: Literal["slurm", "local"] = "slurm",
    ) -> None:
        self.queue = QueueSettings(
            folder=submitit_folder,
            cluster=cluster,
            poll_seconds=poll_seconds,
            max_num_timeout=max_num_timeout,
            shared=_given(
                name=name,
                nodes=nodes,
                tasks_per_node=tasks_per_node,
                gpus_per_node=gpus_per_node,
                cpus_per_task=cpus_per_task,
                mem_gb=mem_gb,
                timeout_min=timeout_min,
            ),
            special=_given(
                partition=partition,
                account=account,
                qos=qos,
                constraint=constraint,
                signal_delay_s=signal_delay_s,
                array_parallelism=array_parallelism,
                setup=list(setup) if setup else None,
                additional_parameters=dict(additional_parameters) if additional_parameters else None,
            ),
        )

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Submit what is not in the queue already, and wait for all. Raises MissingDependencyError, RunError."""
        from ._jobs import Jobs, Task

        task = Task(self.hydra_context, self.task_function, self.config)
        jobs = Jobs(self.queue, task, naming=self.naming)
        return jobs.run([list(overrides) for overrides in job_overrides], first=initial_job_idx)


def _given(**values: Any) -> Mapping[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
