"""When and where a run trains, and what that costs: a line in sessions.jsonl as a session begins, one as it ends.

A session that is killed leaves its first line alone. Nothing of the environment's variables is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evqa.config.paths import sessions_file
from evqa.machine.memory import forget_peak, peak_bytes


@contextlib.contextmanager
def session(run: Path, *, device: str, num_processes: int, num_recomputed: int, is_new: bool) -> Iterator[None]:
    """Record a session of a run in its first process. A run goes on whether or not that can be written.

    device: `cuda`, `cpu` or `mps`. num_recomputed: layers that are computed again in the backward pass. is_new: the run
    begins here, and what an earlier beginning has recorded goes.
    """
    import torch

    file = sessions_file(run)
    if is_new:
        file.unlink(missing_ok=True)
    has_gpu, is_counted = device == "cuda", forget_peak()
    if has_gpu:
        torch.cuda.reset_peak_memory_stats()
    place = {"host": platform.node(), "device": device, "num_processes": num_processes}
    place |= {"num_recomputed": num_recomputed}
    _append(file, {"began": now(), **place})
    began, computed = time.monotonic(), _cpu_seconds()
    try:
        yield
    finally:
        cost = {
            "seconds": time.monotonic() - began,
            "cpu_seconds": _cpu_seconds() - computed,
            "peak_bytes": peak_bytes() if is_counted else None,
            "peak_gpu_bytes": torch.cuda.max_memory_allocated() if has_gpu else None,
        }
        _append(file, {"ended": now(), **cost})


def now() -> str:
    """The time in UTC, to the second: `2026-11-26T08:02:11+00:00`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _cpu_seconds() -> float:
    """CPU time of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _append(file: Path, row: dict[str, Any]) -> None:
    with contextlib.suppress(OSError), file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")
