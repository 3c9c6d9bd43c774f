"""The processes of one run: who starts them, which one this is, and that none is left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evqa.errors import RunError

if TYPE_CHECKING:
    import lightning
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

SET_BY_LIGHTNING = ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")
PATIENCE_SECONDS = 20.0


def is_first(num_processes: int) -> bool:
    """Tell whether this process is the run's first, which holds its folder and writes.

    A task of srun that is a run of its own (`num_processes` is 1) is the first one of that run.
    """
    if num_processes == 1:
        return True
    names = ("SLURM_PROCID",) if _is_slurm_step() else ("RANK", "LOCAL_RANK", "NODE_RANK")
    return all(int(os.environ.get(name) or 0) == 0 for name in names)


def cluster_environment(devices: int, num_nodes: int) -> ClusterEnvironment:
    """Find out who starts the processes of a distributed run: srun, torchrun, or Lightning on this one node.

    Raises:
        RunError: fewer or more processes were started than the trainer's settings say.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if _is_slurm_step():
        started = int(os.environ["SLURM_STEP_NUM_TASKS"])
        if started != devices * num_nodes:
            raise RunError(
                f"srun started {started} processes, and trainer.devices={devices} times trainer.num_nodes={num_nodes} "
                f"is {devices * num_nodes}. Use srun --nodes={num_nodes} --ntasks-per-node={devices}."
            )
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(devices))  # Lightning insists on it
        return SLURMEnvironment(auto_requeue=False)
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if num_nodes > 1 and "NODE_RANK" not in os.environ:
        raise RunError(
            f"trainer.num_nodes={num_nodes}: start the command on every node, with srun --nodes={num_nodes} "
            f"--ntasks-per-node={devices} or with torchrun."
        )
    return LightningEnvironment()


def _is_slurm_step() -> bool:
    """Whether srun started several processes; not one, nor a shell to work in."""
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
    return tasks > 1 and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


@contextlib.contextmanager
def ended_together(trainer: lightning.Trainer) -> Iterator[None]:
    """End the processes that this one starts inside, so that the next run of a sweep starts its own."""
    before = {name: os.environ.get(name) for name in SET_BY_LIGHTNING}
    try:
        yield
    except Exception:
        _end_children(trainer, 0.0)
        _forget(before)
        raise
    except BaseException as end:  # the process ends
        _end_children(trainer, PATIENCE_SECONDS)
        if isinstance(end.__context__, KeyboardInterrupt) and isinstance(end, SystemExit):
            raise KeyboardInterrupt from None  # Lightning makes exit status 1 of it
        raise
    _end_children(trainer, PATIENCE_SECONDS)
    _forget(before)


def _end_children(trainer: lightning.Trainer, patience_s: float) -> None:
    watched: list[subprocess.Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
    children = list(watched)
    watched.clear()  # Lightning's observer would kill this process for what it does to them
    for child in children:
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _forget(before: dict[str, str | None]) -> None:
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
