"""Append-only lines in files that one process writes and all read."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

END = ["end"]  # the last line of a file that will not grow any more


def append_line(descriptor: int, fields: list[Any], *, sync: bool) -> None:
    """Append a line that says `fields` and their checksum; `sync` waits until it is on disk."""
    text = json.dumps(fields, separators=(",", ":"))
    os.write(descriptor, f"{text} {zlib.crc32(text.encode()):08x}\n".encode())
    if sync:
        os.fsync(descriptor)


class Journal:
    """All `*suffix` files of a folder, read a piece at a time as they grow."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder, self.suffix = folder, suffix
        self._seen: dict[str, int] = {}  # bytes read of each file; -1: complete

    def read_new(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield (file's stem, fields) of every whole line that was not yielded before; damaged lines are skipped."""
        names = [name for name in self._names() if self._seen.get(name, 0) >= 0]
        for name in names:
            for fields in self._new_lines(name):
                if fields == END:
                    self._seen[name] = -1
                else:
                    yield name.removesuffix(self.suffix), fields

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.folder) if name.endswith(self.suffix))  # noqa: PTH208
        except OSError:  # no folder yet, or one that cannot be read; whoever writes there will say so
            return []

    def _new_lines(self, name: str) -> Iterator[list[Any]]:
        try:
            # Opening is what makes a network file system look for what other nodes have written.
            with (self.folder / name).open("rb") as file:
                file.seek(self._seen.get(name, 0))
                data = file.read()
        except FileNotFoundError:  # removed by another process in between
            return
        whole = data.rfind(b"\n") + 1  # the rest is being written just now
        self._seen[name] = self._seen.get(name, 0) + whole
        for line in data[:whole].splitlines():
            fields = _fields(line)
            if fields is not None:
                yield fields


def _fields(line: bytes) -> list[Any] | None:
    text, _, checksum = line.rpartition(b" ")
    try:
        return json.loads(text) if int(checksum, 16) == zlib.crc32(text) else None
    except ValueError:
        return None
