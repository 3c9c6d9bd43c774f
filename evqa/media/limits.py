"""What a hostile or broken file may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a hostile or broken file may cost before it is given up.

    max_pixels: of one picture, checked in the header and by the decoder before it allocates.
    max_seconds: of presented picture or sound. max_packets: of one stream.
    max_bytes: of compressed data and native frames held in memory at once.
    timeout_seconds: CPU seconds of the reading thread (so that a busy machine rejects nothing); the wall clock may
        take four times as long.
    """

    max_pixels: int = 4096 * 4096
    max_seconds: float = 4 * 3600.0
    max_packets: int = 2_000_000
    max_bytes: int = 1 << 29
    timeout_seconds: float = 15.0
