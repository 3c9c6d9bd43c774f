"""Run one member of a sweep, in this process or in a job's."""

from __future__ import annotations

from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


def run_member(
    task_function: TaskFunction,
    overrides: list[str],
    *,
    context: HydraContext,
    config: DictConfig,
    number: int,
    job_id: str,
) -> JobReturn:
    """Compose the member's configuration from the sweep's and run it; a failure is in what it returns."""
    member = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(member):
        member.hydra.job.id = job_id
        member.hydra.job.num = number
    return run_job(
        task_function=task_function,
        config=member,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=context,
    )
