"""How reading scales from one worker to two: threads and processes, corrected for a machine that others use too."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

Kind = Literal["threads", "processes"]


class Barrier(Protocol):
    """What lets all workers begin together."""

    def wait(self) -> int:
        """Return when all have come."""
        ...


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Clips a second of all workers together.

    free: what it would be if nobody else used the processor: the time that a worker waited for a core (as the kernel
    counts it) is taken off. Waiting for anything else, such as Python's lock, is not.
    """

    wall: float
    free: float


def compare_workers(
    read: Callable[[Path], Any], paths: Sequence[Path], *, kind: Kind, workers: int, passes: int
) -> tuple[Speed, Speed]:
    """Measure one worker, many, and one again, since a machine's speed drifts; return the mean of one, and many."""
    before, many, after = (
        measure_workers(read, paths, kind=kind, workers=number, passes=passes) for number in (1, workers, 1)
    )
    return Speed(wall=(before.wall + after.wall) / 2, free=(before.free + after.free) / 2), many


def measure_workers(
    read: Callable[[Path], Any], paths: Sequence[Path], *, kind: Kind, workers: int, passes: int
) -> Speed:
    """Let each worker read all clips `passes` times, beginning together."""
    run = _threads if kind == "threads" else _processes
    times = list(run(read, paths, workers, passes))
    num_clips = len(paths) * passes
    return Speed(
        wall=num_clips * workers / max(wall for wall, _ in times),
        free=sum(num_clips / (wall - waited) for wall, waited in times),
    )


def _work(read: Callable[[Path], Any], paths: Sequence[Path], passes: int, barrier: Barrier) -> tuple[float, float]:
    """Return wall-clock seconds, and those among them spent waiting for a core."""
    for path in paths:  # what is loaded at the first call is loaded now
        read(path)
    barrier.wait()
    started, waited = time.perf_counter(), _seconds_waited()
    for _ in range(passes):
        for path in paths:
            read(path)
    return time.perf_counter() - started, _seconds_waited() - waited


def _seconds_waited() -> float:
    """Return how long this thread has been ready to run without a core; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _threads(
    read: Callable[[Path], Any], paths: Sequence[Path], workers: int, passes: int
) -> list[tuple[float, float]]:
    barrier, times = threading.Barrier(workers), list[tuple[float, float]]()
    threads = [
        threading.Thread(target=lambda: times.append(_work(read, paths, passes, barrier))) for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _processes(
    read: Callable[[Path], Any], paths: Sequence[Path], workers: int, passes: int
) -> Iterator[tuple[float, float]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["evqa.media.cache"])
    barrier = context.Barrier(workers)
    ends = []
    for _ in range(workers):
        ours, theirs = context.Pipe(duplex=False)
        context.Process(target=_process, args=(read, list(paths), passes, barrier, theirs), daemon=True).start()
        theirs.close()
        ends.append(ours)
    for end in ends:
        yield end.recv()


def _process(
    read: Callable[[Path], Any], paths: Sequence[Path], passes: int, barrier: Barrier, answer: Connection
) -> None:
    torch.set_num_threads(1)
    answer.send(_work(read, paths, passes, barrier))
