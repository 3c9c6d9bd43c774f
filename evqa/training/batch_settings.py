"""How records become batches: settings beside those of the data set, read before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from evqa.machine.cores import num_cores
from evqa.media.limits import Limits
from evqa.media.store.settings import CacheSettings


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How records become batches.

    batch_size: samples a step and device. workers: files read at a time; null takes the processor's cores, at most 8.
    bucket: batches of records with texts of like length, in training and in scoring. max_failures: share of unreadable
    items (0-1) above which a run stops. reader and limits: see evqa.media.
    """

    batch_size: Annotated[int, "1 <= batch_size"] = 8
    workers: Annotated[int, "0 <= workers"] | None = None
    bucket: bool = False
    max_failures: Annotated[float, "0 <= max_failures <= 1"] = 0.1
    reader: Literal["packets", "decord"] = "packets"
    limits: Limits = field(default_factory=Limits)
    cache: CacheSettings = field(default_factory=CacheSettings)

    def num_workers(self) -> int:
        """Return the number of files that are read at a time."""
        return min(8, num_cores()) if self.workers is None else self.workers
