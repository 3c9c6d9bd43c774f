"""After an interruption was saved: hand the job back to SLURM or submitit, so that it continues later."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import lightning


def requeue(trainer: lightning.Trainer, number: int) -> None:
    """Requeue the job where its scheduler does not do so itself; SIGTERM is left to the scheduler's own decision."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or number == signal.SIGTERM:
        return
    if "SUBMITIT_EXECUTOR" in os.environ:
        return  # submitit's own handler requeues, see evqa.runs.fit
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    name = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job
    if trainer.is_global_zero:
        subprocess.run(["scontrol", "requeue", name], check=False)
    time.sleep(30)  # the requeue ends every rank
