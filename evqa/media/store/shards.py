"""The records of one specification: finding, reading and adding them."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from evqa.media.store.claims import Claim, try_claim
from evqa.media.store.journal import Journal
from evqa.media.store.record import PAGE, Content, DamagedRecordError, decode
from evqa.media.store.room import MARK_SECONDS, Room
from evqa.media.store.writer import ShardWriter

log = logging.getLogger(__name__)


class Location(NamedTuple):
    """Where a record lies: name of the shard, first byte, bytes."""

    shard: str
    offset: int
    num_bytes: int


class CacheFullError(Exception):
    """The limit is reached and every shard is in use."""


class Shards:
    """A folder of shards. One object belongs to one process; its threads may share it.

    about: text for people, kept in spec.json. shard_bytes: a shard that is longer gets no more records.
    patience_seconds: see claims.py.
    """

    def __init__(self, folder: Path, room: Room, *, about: str, shard_bytes: float, patience_seconds: float) -> None:
        self.folder, self.room, self.about = folder, room, about
        self.shard_bytes, self.patience_seconds = shard_bytes, patience_seconds
        self._index = Journal(folder, ".index")
        self._places: dict[bytes, Location] = {}
        self._damaged: dict[bytes, Location] = {}  # found by us, not yet replaced
        self._replaced: set[tuple[str, int]] = set()  # not to be used: damaged, whoever found out
        self._checked: set[Location] = set()
        self._marked: dict[str, float] = {}
        self._writer: ShardWriter | None = None
        self._lock = threading.RLock()
        self._looked = float("-inf")

    def num_bytes(self) -> int:
        """Return the size of all records that are there."""
        self._read_index()
        return sum(place.num_bytes for place in self._places.values())

    def mean_bytes(self, *, at_least: int) -> float | None:
        """Return the mean size of the records that are there, None where there are too few of them."""
        total = self.num_bytes()
        return total / len(self._places) if len(self._places) >= at_least else None

    def may_be_reason(self, key: bytes) -> bool:
        """Return whether the record of `key` is as small as that of a failure."""
        place = self._places.get(key)
        return place is not None and place.num_bytes <= PAGE

    def find(self, key: bytes, *, fresh: bool = False) -> Location | None:
        """Return where a record lies. The index is read again if the last time is a while ago, or for `fresh`."""
        place = self._places.get(key)
        if place is None and (fresh or time.monotonic() - self._looked > 1.0):
            self._read_index()
            place = self._places.get(key)
        return place

    def read(self, key: bytes, *, always_check: bool) -> Content | None:
        """Return what is stored for `key`, None where nothing (undamaged) is.

        The content is compared with its checksum the first time in this process, or every time.

        Raises:
            OSError: it is there but cannot be read just now.
        """
        place = self.find(key)
        if place is None:
            return None
        try:
            content = self._decode(key, place, check=always_check or place not in self._checked)
        except DamagedRecordError as error:
            log.warning("cache: %s at byte %d is damaged (%s); read anew", place.shard, place.offset, error)
            self._forget(key, place, damaged=True)
            return None
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):  # its shard had to go
                self._forget(key, place, damaged=False)
                return None
            log.warning("cache: %s cannot be read (%s); the video is decoded", place.shard, error.strerror)
            raise
        self._checked.add(place)
        return content

    def _forget(self, key: bytes, place: Location, *, damaged: bool) -> None:
        with self._lock:
            if self._places.get(key) != place:  # another thread noticed, too, and may have replaced it
                return
            del self._places[key]
            if damaged:
                self._damaged[key] = place
                self._replaced.add(place[:2])

    def claim(self, key: bytes) -> Claim | None:
        """Return the right to add `key`, None where another thread or process has it. Raises OSError."""
        if self._writer is None:
            self._prepare_folder()
        return try_claim(self.folder / f"{key.hex()}.claim", patience_seconds=self.patience_seconds)

    def add(self, key: bytes, record: Sequence[memoryview]) -> int:
        """Append a record to this process's shard, publish it and return its bytes; the caller holds the claim.

        Raises:
            CacheFullError: the limit is reached. OSError: it cannot be written.
        """
        num_bytes = sum(piece.nbytes for piece in record)
        with self._lock:
            if not self.room.take(num_bytes, keep={*self._marked, self._writer.name if self._writer else ""}):
                raise CacheFullError
            if self._writer is None or self._writer.num_bytes >= self.shard_bytes:
                self._end_shard()
                self._writer = ShardWriter(self.folder)
            offset = self._writer.append(record)
            damaged = self._damaged.pop(key, None)
            self._writer.publish([key.hex(), offset, num_bytes, *(damaged[:2] if damaged else ())])
            self._places[key] = Location(self._writer.name, offset, num_bytes)
            return num_bytes

    def close(self) -> None:
        """Finish this process's shard, and remove the claims of processes that died."""
        for claim in self.folder.glob("*.claim") if self._writer is not None else ():
            with try_claim(claim, patience_seconds=self.patience_seconds) or nullcontext():
                pass
        self._end_shard()

    def _end_shard(self) -> None:
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        about = self.folder / "spec.json"
        if not about.exists():
            draft = self.folder / f"spec.{secrets.token_hex(8)}"
            draft.write_text(self.about + "\n")
            draft.replace(about)

    def _read_index(self) -> None:
        with self._lock:
            self._looked = time.monotonic()
            lines = list(self._index.read_new())
            self._replaced |= {(fields[3], fields[4]) for _, fields in lines if len(fields) > 3}
            for shard, (text, offset, num_bytes, *_) in lines:
                key = bytes.fromhex(text)
                known = self._places.get(key)
                if (shard, offset) not in self._replaced and (known is None or known[:2] in self._replaced):
                    self._places[key] = Location(shard, offset, num_bytes)

    def _decode(self, key: bytes, place: Location, *, check: bool) -> Content:
        path = f"{self.folder}/{place.shard}.shard"
        descriptor = os.open(path, os.O_RDONLY)  # each time: finds what other nodes wrote, and needs no closing in turn
        try:
            content = decode(descriptor, place.offset, key, check=check)
        finally:
            os.close(descriptor)
        self._mark_used(place.shard)
        return content

    def _mark_used(self, shard: str) -> None:
        now = time.monotonic()
        if now - self._marked.get(shard, float("-inf")) < MARK_SECONDS:
            return
        self._marked[shard] = now
        try:
            (self.folder / f"{shard}.used").touch()
        except OSError:  # a cache that may only be read
            return
