"""After an interruption was saved: hand the job back to SLURM or submitit, so that it continues later."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import lightning


def requeue(trainer: lightning.Trainer, number: int, handler: Any) -> None:
    """Requeue the job where nobody else does; the caller leaves the process afterwards.

    handler: what answered the signal before the fit. submitit's own requeues and leaves. SIGTERM comes from the
    scheduler (preemption, scancel, node failure), which has decided already.
    """
    if callable(handler) and (getattr(handler, "__module__", None) or "").startswith("submitit"):
        handler(number, None)
        return
    if "SLURM_JOB_ID" not in os.environ or number == signal.SIGTERM:
        return
    if trainer.is_global_zero:
        subprocess.run(["scontrol", "requeue", job_name()], check=False)
    time.sleep(30)  # the requeue ends every rank


def job_name() -> str:
    """Return the job's number, with its place in an array."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]
