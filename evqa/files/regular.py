"""Whether a path names an ordinary file: asked before anything is opened, hashed or replaced.

A FIFO blocks whoever opens it, `/dev/zero` never ends, and a rename over a device removes the device.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from evqa.errors import FileError

_MOST_LINKS = 40  # as the system follows
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def why_unreadable(path: Path) -> str | None:
    """Say why a path cannot be read as a file ("is a pipe (FIFO), not a file"), or None; links are followed."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        return why(error, "opened")
    return None if stat.S_ISREG(mode) else f"is {_KINDS.get(stat.S_IFMT(mode), 'of another kind')}, not a file"


def why_unwritable(path: Path) -> str | None:
    """Say why a file cannot be put at a path ("is a device, not a file"), or None where it is free or a file."""
    if _is_stream(path):
        return "is a stream or a part of the system, not a file"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return why(error, "written")
    return None if stat.S_ISREG(mode) else f"is {_KINDS.get(stat.S_IFMT(mode), 'of another kind')}, not a file"


def check_readable(path: Path) -> None:
    """Raise FileError unless the path names an ordinary file, or a link to one."""
    if reason := why_unreadable(path):
        raise FileError(path, reason)


def check_writable(path: Path) -> None:
    """Raise FileError unless the path is free, an ordinary file, or a link to one."""
    if reason := why_unwritable(path):
        raise FileError(path, reason)


def _is_stream(path: Path) -> bool:
    """Whether a path leads to what a process has open: a rename over `/dev/stdout` would replace the file behind it."""
    place = os.path.abspath(path)  # noqa: PTH100 (resolves no links)
    for _ in range(_MOST_LINKS):
        if place.startswith(("/dev/std", "/dev/fd/", "/proc/")):
            return True
        if not os.path.islink(place):  # noqa: PTH114 (never raises)
            return False
        place = os.path.join(os.path.dirname(place), os.readlink(place))  # noqa: PTH118, PTH120, PTH115
    return False


def why(error: OSError | ValueError, done: str) -> str:
    """Word an error of the system: "cannot be written: no space left on device". done: read, written, opened ..."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "unknown error"
    return f"cannot be {done}: {reason[:1].lower()}{reason[1:]}"
