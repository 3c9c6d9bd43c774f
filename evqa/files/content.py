"""What a file holds, as a short name: equal bytes have equal names, wherever the files lie."""

from __future__ import annotations

import errno
import hashlib
import stat
from pathlib import Path


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits. Raises OSError where it cannot be read."""
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
