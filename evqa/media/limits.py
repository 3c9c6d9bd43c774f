"""Resource limits per file, and the budget that enforces them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from evqa.errors import MediaError

_WALL_FACTOR = 4  # a stalled disk or a busy machine, not the file's fault


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a hostile or broken file may cost before it is given up. Limits never change what is read.

    max_pixels: of one picture, of a still image four times as many; checked in the header and by the decoder before it
        allocates.
    max_seconds: of sound or picture in the part that is read.
    max_packets: compressed packets in the part that is read.
    max_bytes: of compressed data in the part that is read; it is held in memory.
    timeout_seconds: CPU seconds of the reading thread, so that a busy machine rejects no good file; the wall clock may
        take four times as long. Checked at every packet, without signals: it works in threads and in workers.
    """

    max_pixels: Annotated[int, "1 <= max_pixels"] = 4096 * 4096
    max_seconds: Annotated[float, "0 < max_seconds"] = 3600.0
    max_packets: Annotated[int, "1 <= max_packets"] = 1_000_000
    max_bytes: Annotated[int, "1 <= max_bytes"] = 1 << 29
    timeout_seconds: Annotated[float, "0 < timeout_seconds"] = 15.0


class Budget:
    """What reading one file has cost so far; every check raises MediaError where a limit is broken."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._cpu_start = time.thread_time()
        self._wall_start = time.monotonic()
        self._num_packets = 0
        self._num_bytes = 0

    @property
    def wall_seconds(self) -> float:
        """Wall-clock allowance for one blocking call."""
        return _WALL_FACTOR * self.limits.timeout_seconds

    def check_time(self) -> None:
        """Refuse a file that has used up its time."""
        limit = self.limits.timeout_seconds
        if time.thread_time() - self._cpu_start > limit or time.monotonic() - self._wall_start > self.wall_seconds:
            self.refuse(f"took more than {limit:g} s to read and was given up; raise data.limits.timeout_seconds")

    def check_picture(self, width: int, height: int) -> None:
        """Refuse a picture size before anything of that size is allocated."""
        if width * height > self.limits.max_pixels:
            self.refuse(
                f"has pictures of {width}x{height} pixels, more than the {self.limits.max_pixels} pixels allowed; "
                "scale the video down or raise data.limits.max_pixels"
            )

    def check_seconds(self, seconds: float, *, what: str) -> None:
        """Refuse more picture or sound than allowed."""
        if seconds > self.limits.max_seconds:
            self.refuse(
                f"has {seconds:.0f} s of {what} to read, more than the {self.limits.max_seconds:g} s allowed; "
                "cut it, sample its first seconds only, or raise data.limits.max_seconds"
            )

    def add_packet(self, num_bytes: int) -> None:
        """Count one packet that is kept in memory."""
        self.check_time()
        self._num_packets += 1
        self._num_bytes += num_bytes
        if self._num_packets > self.limits.max_packets:
            self.refuse(f"has more than {self.limits.max_packets} packets to read; raise data.limits.max_packets")
        if self._num_bytes > self.limits.max_bytes:
            self.refuse(
                f"has more than {self.limits.max_bytes >> 20} MiB of compressed data to read; cut it, sample its first "
                "seconds only, or raise data.limits.max_bytes"
            )

    def refuse(self, reason: str) -> NoReturn:
        """Give the file up."""
        raise MediaError(self.path, reason)

    def blame(self, reason: str, cause: OSError) -> NoReturn:
        """Give up for now: the machine is at fault, not the file."""
        raise MediaError(self.path, reason) from cause
