"""The one shard that a process appends to."""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evqa.media.store.journal import END, append_line

_SHARE = 0o666  # less the umask: a group may share a cache


class ShardWriter:
    """A new shard in `folder`; nobody else writes to it. Raises OSError where it cannot be made."""

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(8)
        self.num_bytes = 0
        # The index first: a shard without one is a leftover of an eviction.
        self._index = os.open(folder / f"{self.name}.index", os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY, _SHARE)
        self._shard = os.open(folder / f"{self.name}.shard", os.O_CREAT | os.O_EXCL | os.O_WRONLY, _SHARE)

        self._finish = weakref.finalize(self, _finish, os.getpid(), self._index, self._shard)

    def append(self, record: Sequence[memoryview]) -> int:
        """Write a record, wait until it is on disk and return its offset. Raises OSError, after undoing."""
        offset, at = self.num_bytes, self.num_bytes
        try:
            for piece in record:
                at = self._write(piece, at)
            os.fsync(self._shard)
        except OSError:
            os.ftruncate(self._shard, offset)
            raise
        self.num_bytes = at
        return offset

    def publish(self, fields: list[Any]) -> None:
        """Add a line to the index: from now on all processes find the record."""
        append_line(self._index, fields, sync=True)

    def close(self) -> None:
        """Say that the index is complete, so that nobody looks for more; at the end of the process in any case."""
        self._finish()

    def _write(self, piece: memoryview, at: int) -> int:
        while piece.nbytes:
            count = os.pwrite(self._shard, piece, at)
            at, piece = at + count, piece[count:]
        return at


def _finish(process: int, index: int, shard: int) -> None:
    if process == os.getpid():  # not in a forked copy
        append_line(index, END, sync=False)
    os.close(index)
    os.close(shard)
