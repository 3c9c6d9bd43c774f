"""How reading scales from one worker to two: threads and processes, corrected for a machine that others use too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from evqa.errors import MediaError
from evqa.machine.isolated import call_isolated

Kind = Literal["threads", "processes"]


@dataclass(frozen=True, kw_only=True)
class ReadingSpeed:
    """Clips a second of all workers together.

    free: what it would be if nobody else used the processor: the time that a worker waited for a core (as the kernel
    counts it) is taken off. Waiting for anything else, such as Python's lock, is not.
    """

    wall: float
    free: float


def compare_workers(
    read: Callable[[Path], Any], paths: Sequence[Path], *, kind: Kind, workers: int, passes: int
) -> tuple[ReadingSpeed, ReadingSpeed]:
    """Measure one worker, many, and one again, since a machine's speed drifts; return the mean of one, and many."""
    before, many, after = (
        measure_workers(read, paths, kind=kind, workers=number, passes=passes) for number in (1, workers, 1)
    )
    return ReadingSpeed(wall=(before.wall + after.wall) / 2, free=(before.free + after.free) / 2), many


def measure_workers(
    read: Callable[[Path], Any], paths: Sequence[Path], *, kind: Kind, workers: int, passes: int
) -> ReadingSpeed:
    """Let each worker read all clips `passes` times, beginning together."""
    ask = partial(_here if kind == "threads" else _apart, read)
    times = _threads(ask, paths, workers, passes)
    num_clips = len(paths) * passes
    return ReadingSpeed(
        wall=num_clips * workers / max(wall for wall, _ in times),
        free=sum(num_clips / (wall - waited) for wall, waited in times),
    )


def _here(read: Callable[[Path], Any], path: Path) -> float:
    """Read a clip in this thread; none of its waiting is elsewhere."""
    read(path)
    return 0.0


def _apart(read: Callable[[Path], Any], path: Path) -> float:
    """Read a clip in a process of its own, as all commands decode, and return how long that waited for a core."""
    outcome = call_isolated(partial(_timed, read=read), path, seconds=600.0)
    if outcome.value is None:
        raise MediaError(path, outcome.error or "")
    return outcome.value[1]


def _timed(path: Path, *, read: Callable[[Path], Any]) -> tuple[Any, float]:
    before = _seconds_waited()
    return read(path), _seconds_waited() - before


def _work(
    ask: Callable[[Path], float], paths: Sequence[Path], passes: int, barrier: threading.Barrier
) -> tuple[float, float]:
    """Return wall-clock seconds, and those among them spent waiting for a core."""
    for path in paths:  # what is loaded at the first call is loaded now
        ask(path)
    barrier.wait()
    started, waited = time.perf_counter(), -_seconds_waited()
    for _ in range(passes):
        for path in paths:
            waited += ask(path)
    return time.perf_counter() - started, waited + _seconds_waited()


def _seconds_waited() -> float:
    """Return how long this thread has been ready to run without a core; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _threads(
    ask: Callable[[Path], float], paths: Sequence[Path], workers: int, passes: int
) -> list[tuple[float, float]]:
    barrier, times = threading.Barrier(workers), list[tuple[float, float]]()
    threads = [
        threading.Thread(target=lambda: times.append(_work(ask, paths, passes, barrier))) for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times
