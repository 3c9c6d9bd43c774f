"""Filling a cache: how much it will take, then all files, several at a time, as often interrupted as you like."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evqa.errors import MediaError
from evqa.machine.isolated import stop_calls
from evqa.machine.threads import each_in_threads
from evqa.media.cache import CachedReader, CachedStream, CacheError, Stored
from evqa.media.store.disk import GIGA

SAMPLED = 8  # files that are decoded to learn how large a clip is


@dataclass(frozen=True, kw_only=True)
class FillEstimate:
    """What filling will take.

    num_cached counts files of which pictures and sound are known to be in the cache, without reading them. clip_bytes:
    what one of the others lacks, on average.
    """

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


def estimate(reader: CachedReader, paths: Sequence[Path]) -> FillEstimate:
    """Measure on a few files what filling the cache with all of them will take. Stores nothing.

    Raises:
        CacheError: there is no cache.
    """
    unique = list(dict.fromkeys(paths))
    needed, missing = 0.0, 0
    for stream in reader.streams:
        if stream.disk is None:
            raise CacheError("cache: its folder is null, so there is nothing to fill; name a folder")
        lacking = [path for path in unique if not stream.disk.is_known(path)]
        needed += len(lacking) * (stream.disk.shards.mean_bytes(at_least=SAMPLED) or _mean_bytes(stream, lacking))
        missing = max(missing, len(lacking))
    disks = [stream.disk for stream in reader.streams if stream.disk is not None]
    return FillEstimate(
        folder=str(disks[0].root),
        num_files=len(unique),
        num_cached=len(unique) - missing,
        clip_bytes=needed / max(1, missing),
        present_bytes=sum(disk.shards.num_bytes() for disk in disks),
        limit_bytes=reader.settings.max_gigabytes * GIGA,
        free_bytes=disks[0].free_bytes(),
    )


def _mean_bytes(stream: CachedStream, paths: Sequence[Path]) -> float:
    step = max(1, len(paths) // SAMPLED)
    sizes = [stream.record_bytes(path) for path in paths[::step][:SAMPLED]]
    return sum(sizes) / max(1, len(sizes))


def fill(
    reader: CachedReader,
    paths: Sequence[Path],
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Filled:
    """Bring all files into the cache. Other processes may fill it at the same time; what is there is not done again.

    workers: files at a time (0 is 1). progress: called with (files done, files).

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
    """Store all; then wait for the clips that other processes were decoding, or do them when those died."""
    left = list(paths)
    while left:
        busy = []
        for path, result in each_in_threads(reader.store, left, num_threads=workers, stop=stop_calls):
            if result.state == "busy":
                busy.append(path)
            else:
                yield path, result
        if len(busy) == len(left):
            time.sleep(0.1)
        left = busy
