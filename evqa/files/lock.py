"""A file that one process at a time holds; the system lets go of it when the process dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

PROBE_SECONDS = 0.2  # `is_held` holds the file itself for a moment, which must not be taken for a holder
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK  # the file may have come from anybody: no link is followed, no pipe waited for


@contextlib.contextmanager
def held(path: Path, *, patience_s: float = 0.0) -> Iterator[bool]:
    """Hold a file, made with its folder where it is missing, for the block; yields whether that succeeded.

    patience_s: how long to wait for the one that holds it; at least for the moment that `is_held` takes.

    Raises:
        OSError: it cannot be made, or is a link.
    """
    until = time.monotonic() + max(patience_s, PROBE_SECONDS)
    while (file := _taken(path)) is None and time.monotonic() < until:
        time.sleep(PROBE_SECONDS / 4)
    with file or contextlib.nullcontext():
        yield file is not None


def is_held(path: Path) -> bool:
    """Tell whether a process holds a file; a link is not followed. Raises OSError where nobody can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _PLAIN)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _taken(path: Path) -> TextIO | None:
    """Lock the file; None where another process has it, or has just removed it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | _PLAIN, 0o666), "a")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None
