"""The largest memory that this process has held, as Linux counts it."""

from __future__ import annotations

import re
from pathlib import Path

PROCESS = Path("/proc/self")


def forget_peak() -> bool:
    """Count the peak anew from here on; whether the system can (5 does that: proc(5), clear_refs)."""
    try:
        (PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """The largest resident memory of this process alone, without its children; None where the system does not say."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (PROCESS / "status").read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return 1024 * int(found[1]) if found else None
