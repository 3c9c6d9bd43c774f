"""What a user says about the cache of decoded clips; a configuration names it by `evqa.media.cache`, its user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Where decoded clips are kept.

    folder: null for no cache; several runs, processes and nodes may share one. codec: raw is lossless; jpeg takes an
    eighth of the space and changes pixels (mean 1 of 255 at quality 95). max_gigabytes: of the whole folder (10^9
    bytes); beyond, the shards that were not used for longest go, but none that is in use. fill: auto stores what had to
    be decoded, never only reads. verify: compare a clip with its checksum the first time a process reads it, or always.
    """

    folder: str | None = "cache/clips"
    codec: Literal["raw", "jpeg"] = "raw"
    jpeg_quality: Annotated[int, "1 <= jpeg_quality <= 100"] = 95
    max_gigabytes: Annotated[float, "0 < max_gigabytes"] = 100.0
    fill: Literal["auto", "never"] = "auto"
    verify: Literal["once", "always"] = "once"
    shard_megabytes: Annotated[float, "0 < shard_megabytes"] = 512.0
