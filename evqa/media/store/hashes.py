"""Content hashes of files, remembered by path, size and time of modification."""

from __future__ import annotations

import os
import secrets
import threading
import time
from pathlib import Path
from typing import NamedTuple

from evqa.files.content import content_hash
from evqa.media.store.journal import Journal, append_line

SETTLED_NS = 2_000_000_000  # a file changed more recently may change again without a new time stamp


class FileHash(NamedTuple):
    """What a file held when it had this size and time stamp; key: SHA-256, 32 bytes."""

    key: bytes
    size: int
    modified_ns: int

    def is_current(self, path: Path) -> bool:
        """Return whether size and time stamp are still the same. Raises OSError."""
        now = path.stat()
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


class ContentHashes:
    """SHA-256 of files; each file is read once and the answer kept in `folder` for all processes to come.

    remember: write what is new to the folder.
    """

    def __init__(self, folder: Path, *, remember: bool = True) -> None:
        self.folder, self.remember = folder, remember
        self._journal = Journal(folder, ".hashes")
        self._known: dict[str, FileHash] = {}
        self._looked = float("-inf")
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def of(self, path: Path) -> FileHash:
        """Return the hash of a file's content. Raises OSError where it cannot be read."""
        known = self.known(path)
        if known is not None:
            return known
        before = path.stat()
        found = FileHash(bytes.fromhex(content_hash(path)), before.st_size, before.st_mtime_ns)
        if self.remember and time.time_ns() - before.st_mtime_ns > SETTLED_NS:
            self._remember(str(path.absolute()), found)
        return found

    def known(self, path: Path) -> FileHash | None:
        """Return the hash where it is remembered and the file unchanged, without reading it. Raises OSError."""
        name = str(path.absolute())  # no links are followed, no disk is asked
        if name not in self._known and time.monotonic() - self._looked > 1.0:
            self._look()
        found = self._known.get(name)
        return found if found is not None and found.is_current(path) else None

    def _look(self) -> None:
        """Read what other processes have found out since the last time."""
        with self._lock:
            self._looked = time.monotonic()
            for _, (path, key, size, modified_ns) in self._journal.read_new():
                self._known[path] = FileHash(bytes.fromhex(key), size, modified_ns)

    def _remember(self, path: str, found: FileHash) -> None:
        with self._lock:
            self._known[path] = found
            try:
                if self._descriptor is None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    name = self.folder / f"{secrets.token_hex(6)}.hashes"
                    self._descriptor = os.open(name, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
                append_line(self._descriptor, [path, found.key.hex(), found.size, found.modified_ns], sync=False)
            except OSError:  # a folder that cannot be written: the next process hashes again
                return
