"""Filling a cache: how much it will take, then all files, by several processes, as often interrupted as you like."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path

import torch

from evqa.errors import MediaError
from evqa.media.cache import CachedReader, CacheError, CacheSettings, Stored
from evqa.media.clip import ClipSpec
from evqa.media.store.disk import GIGA

SAMPLED = 8  # files that are decoded to learn how large a clip is
CRASHED = "the process that decoded it died (a crash of the decoder, or not enough memory)"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What filling will take. num_cached counts files that are known to be in the cache without reading them."""

    folder: str
    num_files: int
    num_cached: int
    clip_bytes: float
    present_bytes: float
    limit_bytes: float
    free_bytes: float

    @property
    def needed_bytes(self) -> float:
        """Bytes that will be added."""
        return (self.num_files - self.num_cached) * self.clip_bytes

    def problem(self) -> str | None:
        """Return the sentence that says why filling would fail, None where it fits."""
        needs = (
            f"cache: {self.num_files - self.num_cached} clips need about {self.needed_bytes / GIGA:.3g} GB in "
            f"{self.folder} ({self.clip_bytes / 1e6:.3g} MB each)"
        )
        advice = "codec=jpeg takes an eighth, fewer or smaller frames less"
        if self.present_bytes + self.needed_bytes > self.limit_bytes:
            return f"{needs}, but max_gigabytes is {self.limit_bytes / GIGA:g}; raise it, or {advice}"
        if self.needed_bytes > self.free_bytes:
            return f"{needs}, but its disk has {self.free_bytes / GIGA:.3g} GB left; name another folder, or {advice}"
        return None


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What filling did: clips stored and found; failures are files without a clip, with reasons."""

    num_stored: int
    num_found: int
    num_bytes: int
    seconds: float
    failures: tuple[MediaError, ...]


def estimate(reader: CachedReader, paths: Sequence[Path]) -> Estimate:
    """Measure on a few files what filling the cache with all of them will take. Stores nothing.

    Raises:
        CacheError: there is no cache.
    """
    disk = reader.disk
    if disk is None:
        raise CacheError("cache: its folder is null, so there is nothing to fill; name a folder")
    unique = list(dict.fromkeys(paths))
    missing = [path for path in unique if not disk.is_known(path)]
    return Estimate(
        folder=str(disk.root),
        num_files=len(unique),
        num_cached=len(unique) - len(missing),
        clip_bytes=disk.shards.mean_bytes(at_least=SAMPLED) or _mean_bytes(reader, missing),
        present_bytes=disk.shards.num_bytes(),
        limit_bytes=reader.settings.max_gigabytes * GIGA,
        free_bytes=disk.free_bytes(),
    )


def _mean_bytes(reader: CachedReader, paths: Sequence[Path]) -> float:
    step = max(1, len(paths) // SAMPLED)
    sizes = [reader.record_bytes(path) for path in paths[::step][:SAMPLED]]
    return sum(sizes) / max(1, len(sizes))


def fill(
    reader: CachedReader,
    paths: Sequence[Path],
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Filled:
    """Bring all files into the cache. Other processes may fill it at the same time; what is there is not done again.

    workers: processes that decode; 0 decodes here. progress: called with (files done, files).

    Raises:
        CacheError: it will not fit, or cannot be written.
    """
    started = time.monotonic()
    if problem := estimate(reader, paths).problem():
        raise CacheError(problem)
    todo = list(dict.fromkeys(paths))
    results: dict[Path, Stored] = {}
    for path, result in _each(reader, todo, workers):
        results[path] = result
        if progress:
            progress(len(results), len(todo))
    reader.close()
    return Filled(
        num_stored=sum(result.state == "stored" for result in results.values()),
        num_found=sum(result.state == "found" for result in results.values()),
        num_bytes=sum(result.num_bytes for result in results.values()),
        seconds=time.monotonic() - started,
        failures=tuple(MediaError(path, results[path].reason or "") for path in todo if results[path].reason),
    )


def _each(reader: CachedReader, paths: Sequence[Path], workers: int) -> Iterator[tuple[Path, Stored]]:
    """Say what is known to be there, then store the rest; processes take seconds to start, so few are done here."""
    left = []
    for path in paths:
        if reader.known_share([path]):
            yield path, reader.store(path)
        else:
            left.append(path)
    yield from _until_nobody_is_busy(reader, left, workers if len(left) > 4 * workers else 0)


def _until_nobody_is_busy(reader: CachedReader, left: list[Path], workers: int) -> Iterator[tuple[Path, Stored]]:
    """Store all; then wait for the clips that other processes were decoding, or do them when those died."""
    store = functools.partial(_in_processes, workers=workers) if workers else _here
    while left:
        busy = []
        for path, result in store(reader, left):
            if result.state == "busy":
                busy.append(path)
            else:
                yield path, result
        if len(busy) == len(left):
            time.sleep(0.1)
        left, store = busy, _here


def _here(reader: CachedReader, paths: Sequence[Path]) -> Iterator[tuple[Path, Stored]]:
    for path in paths:
        yield path, reader.store(path)


def _in_processes(reader: CachedReader, paths: Sequence[Path], *, workers: int) -> Iterator[tuple[Path, Stored]]:
    """Store in worker processes; a file whose decoding kills its process is tried alone, then stored as a failure."""
    left, running = deque(paths), dict[Future[Stored], Path]()
    while left:
        try:
            with _pool(workers) as pool:
                while left or running:
                    while left and len(running) < 2 * workers:
                        running[pool.submit(_there, reader.settings, reader.spec, left[0])] = left[0]
                        left.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield running.pop(future), result
        except BrokenProcessPool:
            yield from _one_by_one(reader, deque(running.values()))
            running.clear()


def _one_by_one(reader: CachedReader, suspects: deque[Path]) -> Iterator[tuple[Path, Stored]]:
    """Store the files among which one has killed its process; which one, is seen now."""
    while suspects:
        with _pool(1) as pool:
            try:
                while suspects:
                    result = pool.submit(_there, reader.settings, reader.spec, suspects[0]).result()
                    yield suspects.popleft(), result
            except BrokenProcessPool:
                path = suspects.popleft()
                yield path, reader.store_failure(path, CRASHED)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not once a worker
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # a killed parent leaves nobody to ask for more


def _there(settings: CacheSettings, spec: ClipSpec, path: Path) -> Stored:
    return _reader(settings, spec).store(path)


@functools.cache
def _reader(settings: CacheSettings, spec: ClipSpec) -> CachedReader:
    """Keep one reader a process, so that the index is read once."""
    reader = CachedReader(settings, spec)
    Finalize(None, reader.close, exitpriority=0)  # worker processes end without running exit handlers
    return reader
