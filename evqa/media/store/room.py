"""How much the cache may take on disk: the limit, and which shards go when it is reached."""

from __future__ import annotations

import os
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

IN_USE_SECONDS = 900.0  # a shard that somebody read or wrote this recently stays
MARK_SECONDS = 60.0  # how often a reader renews the time stamp that says so


@dataclass(frozen=True, kw_only=True)
class ShardFiles:
    """The files of one shard; last_used: seconds since the epoch."""

    index: Path
    num_bytes: int
    last_used: float

    def remove(self) -> None:
        """Remove the shard; the index first, so that nobody finds what is going."""
        for suffix in (".index", ".shard", ".used"):
            self.index.with_suffix(suffix).unlink(missing_ok=True)


class Room:
    """The space below `root` (every specification's folder) that clips may take.

    Several processes may be over the limit together by about 2 % each, because they check the disk only now and then.
    """

    def __init__(self, root: Path, *, limit_bytes: float, in_use_seconds: float = IN_USE_SECONDS) -> None:
        self.root, self.limit_bytes, self.in_use_seconds = root, limit_bytes, in_use_seconds
        self._free = 0.0  # bytes that may be written before checking again
        self._step = limit_bytes / 64

    def take(self, num_bytes: int, *, keep: Container[str] = ()) -> bool:
        """Return whether `num_bytes` may be written, after removing the shards that were not used for longest.

        keep: names (stems) of shards that this process reads. Shards that others use stay as well.
        """
        if self._free < num_bytes:
            self._free = self._look(num_bytes, keep)
        if self._free < num_bytes:
            return False
        self._free -= num_bytes
        return True

    def _look(self, num_bytes: int, keep: Container[str]) -> float:
        shards = shards_below(self.root)
        used = sum(shard.num_bytes for shard in shards)
        for shard in sorted(shards, key=lambda shard: shard.last_used):
            if used + num_bytes <= self.limit_bytes:
                break
            idle = time.time() - shard.last_used > self.in_use_seconds
            if idle and shard.index.stem not in keep:
                shard.remove()
                used -= shard.num_bytes
        return min(self.limit_bytes - used, max(self._step, num_bytes))


def shards_below(root: Path) -> list[ShardFiles]:
    """List the shards of all folders in `root`; one that lost its index while it was being removed is listed too."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".shard"):
                found += _measure(Path(folder) / name)
    return found


def _measure(shard: Path) -> list[ShardFiles]:
    try:
        status = shard.stat()
    except FileNotFoundError:
        return []
    used = shard.with_suffix(".used")
    times = [status.st_mtime] + ([used.stat().st_mtime] if used.exists() else [])
    return [ShardFiles(index=shard.with_suffix(".index"), num_bytes=status.st_size, last_used=max(times))]
