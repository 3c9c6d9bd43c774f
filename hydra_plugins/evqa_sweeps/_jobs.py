"""Jobs of a sweep: submit, find again, wait, collect."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from evqa.config.identity import register_resolver
from evqa.errors import EvqaError, MissingDependencyError, RunError
from evqa.files.names import shown_lines
from evqa.files.progress import CONTINUES, counted
from evqa.files.stored import read_objects

from ._member import run_member
from ._naming import Naming
from ._record import JobError, failed, reason
from ._settings import QueueSettings

try:
    import submitit
except ImportError as error:
    raise MissingDependencyError("hydra/launcher=slurm needs submitit: pip install 'evqa[slurm]'.") from error

log = logging.getLogger("evqa.sweep")
GRACE_POLLS = 2  # polls of the queue between a job's end and its result's arrival on a slow file system


def _state() -> Any:
    """Return Hydra's state for a job, which registers anew what reads files: ours is no plug-in."""
    state = Singleton.get_state()
    state["instances"].pop(SourcesRegistry, None)
    return state


class Task:
    """What a job runs: one member. Travels to the node as a pickle."""

    def __init__(self, context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.config = context, task_function, config

    def __call__(self, overrides: list[str], number: int, state: Any) -> JobReturn:
        """Run the member; its failure travels back as text, because not every exception can."""
        Singleton.set_state(state)
        setup_globals()
        register_resolver()
        context, config, job_id = self.context, self.config, submitit.JobEnvironment().job_id
        result = run_member(self.task_function, overrides, context=context, config=config, number=number, job_id=job_id)
        if result.status == JobStatus.FAILED:
            cause = result._return_value
            if not isinstance(cause, EvqaError):
                traceback.print_exception(cause)  # into the job's own log
            result._return_value = JobError(reason(result))
        return result

    def checkpoint(self, *arguments: Any) -> submitit.helpers.DelayedSubmission:
        """Called by submitit before it puts the job back into the queue: the same again, the run continues itself."""
        return submitit.helpers.DelayedSubmission(self, *arguments)


class Jobs:
    """The jobs of one batch: each runs the task with the overrides of its member."""

    def __init__(self, settings: QueueSettings, task: Task, *, naming: Naming) -> None:
        self.settings, self.task, self.naming = settings, task, naming
        self.ledger = Path(str(task.config.hydra.sweep.dir)) / ".submitit" / "ledger.jsonl"

    def run(self, members: Sequence[list[str]], *, first: int) -> list[JobReturn]:
        """Find or submit each member's job, then wait for all of them."""
        if self.settings.cluster == "slurm" and shutil.which("sbatch") is None:
            raise RunError(
                "hydra/launcher=slurm: there is no sbatch on this machine. Log in to the cluster, or use local."
            )
        if self.settings.cluster == "local" and self.settings.num_tasks > 1:
            raise RunError(
                f"hydra.launcher.cluster=local starts one process a run, but trainer.num_nodes and trainer.devices ask "
                f"for {self.settings.num_tasks}. Use hydra/launcher=local, whose runs start their processes."
            )
        jobs = self.living(members)
        new = [place for place in range(len(members)) if place not in jobs]
        for place, job in jobs.items():
            label = self.naming.label(first + place, members[place])
            log.info("waiting for job %s, which runs already: %s; log %s", job.job_id, label, log_of(job))
        if new:
            jobs |= dict(zip(new, self.submit(members, new, first=first), strict=True))
        return self.wait(jobs, members)

    def submit(
        self, members: Sequence[list[str]], places: Sequence[int], *, first: int
    ) -> list[submitit.Job[JobReturn]]:
        """Submit the members at these places as one array and write down their job numbers.

        Raises RunError where the queue does not take them.
        """
        executor = self.executor()
        chosen, numbers = [members[place] for place in places], [first + place for place in places]
        try:
            jobs = executor.map_array(self.task, chosen, numbers, [_state()] * len(chosen))
        except submitit.core.utils.FailedJobError as error:
            said = " ".join(shown_lines(str(error)).split())
            raise RunError(
                f"SLURM took none of the {len(chosen)} jobs: {said}. What is asked of it are the keys hydra.launcher.* "
                "(partition, account, qos, gpus_per_node, mem_gb, timeout_min, ...); docs/cluster.md has an example."
            ) from error
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        with self.ledger.open("a", encoding="utf-8") as file:
            for member, number, job in zip(chosen, numbers, jobs, strict=True):
                file.write(json.dumps({"member": key_of(member), "job": job.job_id, "overrides": member}) + "\n")
                log.info("job %s: %s; log %s", job.job_id, self.naming.label(number, member), log_of(job))
        return list(jobs)

    def executor(self) -> submitit.Executor:
        """Submitit's executor with these settings."""
        settings, cluster = self.settings, self.settings.cluster
        extra = {"slurm_max_num_timeout": settings.max_num_timeout} if cluster == "slurm" else {}
        executor = submitit.AutoExecutor(folder=settings.folder, cluster=cluster, **extra)
        special = {f"slurm_{key}": value for key, value in settings.special.items()} if cluster == "slurm" else {}
        executor.update_parameters(**settings.shared, **special)
        return executor

    def living(self, members: Sequence[list[str]]) -> dict[int, submitit.Job[JobReturn]]:
        """Jobs of an earlier driver that are still in the queue, by the member's place."""
        if self.settings.cluster != "slurm" or not self.ledger.exists():
            return {}
        rows = read_objects(self.ledger)
        latest = {row["member"]: row["job"] for row in rows if {"member", "job"} <= row.keys()}
        queue = queued_jobs() or set()
        tasks = list(range(self.settings.num_tasks))
        found = {place: latest.get(key_of(member)) for place, member in enumerate(members)}
        return {
            place: submitit.SlurmJob(folder=self.settings.folder, job_id=job, tasks=tasks)
            for place, job in found.items()
            if job in queue
        }

    def wait(self, jobs: dict[int, submitit.Job[JobReturn]], members: Sequence[list[str]]) -> list[JobReturn]:
        """Collect results as they come; a job that left the queue without one has died."""
        results: dict[int, JobReturn] = {}
        missing_since: dict[int, float] = {}
        grace = GRACE_POLLS * self.settings.poll_seconds
        with counted("waiting for jobs", len(jobs), then=self.after_ctrl_c()) as counting:
            while len(results) < len(jobs):
                queue = self.alive([job for place, job in jobs.items() if place not in results])
                for place, job in jobs.items():
                    if place in results:
                        continue
                    if _has_result(job):
                        results[place] = _result(job, members[place])
                    elif queue is None or job.job_id in queue:
                        missing_since.pop(place, None)
                    elif time.monotonic() - missing_since.setdefault(place, time.monotonic()) > grace:
                        results[place] = failed(JobError(_obituary(job)), members[place])
                    if place in results:
                        log.info("job %s: %s", job.job_id, results[place].status.name.lower())
                counting.move(len(results))
                if len(results) < len(jobs):
                    time.sleep(min(self.settings.poll_seconds, 1.0) if missing_since else self.settings.poll_seconds)
        return [results[place] for place in range(len(members))]

    def after_ctrl_c(self) -> str:
        """What the same command does when this driver was stopped."""
        on_cluster = self.settings.cluster == "slurm"
        return "the jobs go on, and the same command waits for them" if on_cluster else CONTINUES

    def alive(self, jobs: Sequence[submitit.Job[JobReturn]]) -> set[str] | None:
        """Which jobs are queued or running; None where nobody can tell just now."""
        if self.settings.cluster == "slurm":
            return queued_jobs()
        return {job.job_id for job in jobs if not job.done(force_check=True)}


def queued_jobs() -> set[str] | None:
    """The user's jobs in the queue ('12', '13_0'); None where squeue does not answer."""
    command = ["squeue", "--array", "--noheader", "--format=%i", f"--user={os.getuid()}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (subprocess.SubprocessError, OSError) as error:
        log.warning("squeue does not answer (%s); asking again", error)
        return None
    return set(done.stdout.split())


def key_of(overrides: Sequence[str]) -> str:
    """A name for a member that does not depend on the order of its overrides."""
    return hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:16]


def _first_task(job: submitit.Job[JobReturn]) -> submitit.Job[JobReturn]:
    return job.task(0)


def log_of(job: submitit.Job[JobReturn]) -> Path:
    """What the first task of a job prints; its errors lie beside it (.err)."""
    return Path(os.path.relpath(_first_task(job).paths.stdout))


def _has_result(job: submitit.Job[JobReturn]) -> bool:
    return _first_task(job).paths.result_pickle.exists()


def _result(job: submitit.Job[JobReturn], overrides: Sequence[str]) -> JobReturn:
    try:
        return _first_task(job).result()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one job must not stop the others
        lines = str(error).strip().splitlines()
        return failed(JobError(f"job {job.job_id}: {lines[-1] if lines else type(error).__name__}"), overrides)


def _obituary(job: submitit.Job[JobReturn]) -> str:
    """What is known about a job that died without a result."""
    log_file = _first_task(job).paths.stderr
    lines = log_file.read_text(errors="replace").strip().splitlines()[-3:] if log_file.exists() else []
    last = " Its last words: " + " | ".join(line.strip() for line in lines) if lines else ""
    return (
        f"job {job.job_id} left the queue without a result (cancelled, killed, or out of memory).{last} See {log_file}."
    )
